"""The examples of the documentation: each request is sent, each answer is as it is printed."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pacifica.notifications.jsonpath import find, parse
from tests.support import databases
from tests.support.deployments import environment_of, migrated_database
from tests.support.processes import BIN, Program, web_server, worker
from tests.support.servers import RecordingServer, eventually, free_port

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENTED_SERVER = "http://localhost:8070"
ANSWER = 30

BLOCK = re.compile(
    r"^\.\. code-block:: (?P<language>\w+)\n(?:   :caption: (?P<caption>.+)\n)?\n"
    r"(?P<text>(?:   .*\n|\n)+)",
    re.MULTILINE,
)
UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
DATE = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(?:\d{6}\b|\d{3}Z)")
#: The pages whose examples are run.
PAGES = ("exampleusage.rst", "replays.rst")
ROW = re.compile(r"^   \* - ``(?P<jsonpath>.+)``\n     - (?P<matches>yes|no)$", re.MULTILINE)
METHOD = re.compile(r"-X (\w+)")


@dataclass(frozen=True)
class Block:
    """One block of code of a page."""

    language: str
    caption: str | None
    text: str


@dataclass(frozen=True)
class Answer:
    """An answer, printed or real; of a printed one, `headers` are those that are compared."""

    status: str
    headers: dict[str, str]
    body: str

    @classmethod
    def of(cls, text: str) -> "Answer":
        head, _, body = text.replace("\r\n", "\n").partition("\n\n")
        status, *lines = head.strip().split("\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return cls(status, headers, body.strip())


@dataclass
class Bindings:
    """What the UUIDs and dates that are printed stand for; each keeps its meaning in the page."""

    real: dict[str, str] = field(default_factory=dict)

    def compare(self, printed: Any, real: Any, where: str = "body") -> None:
        """Fail where an answer differs from what is printed; binds what is printed first."""
        assert type(printed) is type(real), f"{where}: {printed!r} is printed, {real!r} answered"
        if isinstance(printed, dict):
            assert list(printed) == list(real), f"{where}: other names, or another order"
            for name, value in printed.items():
                self.compare(value, real[name], f"{where}.{name}")
        elif isinstance(printed, list):
            assert len(printed) == len(real), f"{where}: another length"
            for number, value in enumerate(printed):
                self.compare(value, real[number], f"{where}[{number}]")
        elif isinstance(printed, str) and any(
            kind.fullmatch(printed) and kind.fullmatch(real) for kind in (UUID, DATE)
        ):
            assert self.real.setdefault(printed, real) == real, f"{where}: {printed} is another"
            assert not UUID.fullmatch(real) or list(self.real.values()).count(real) == 1, where
        elif isinstance(printed, str):
            assert self.replaced(printed) == real, where
        else:
            assert printed == real, where

    def replaced(self, text: str) -> str:
        for printed, real in self.real.items():
            text = text.replace(printed, real)
        return text


def blocks(page: str) -> list[Block]:
    text = (DOCS / page).read_text(encoding="utf-8") + "\n"
    return [
        Block(
            match["language"],
            match["caption"],
            "\n".join(line[3:] for line in match["text"].rstrip().split("\n")) + "\n",
        )
        for match in BLOCK.finditer(text)
    ]


def command_of(block: Block) -> list[str]:
    assert block.text.startswith("$ curl "), block.text
    return shlex.split(block.text.removeprefix("$ curl ").replace("\\\n", " "))


def compare(printed: Answer, real: Answer, bindings: Bindings) -> None:
    assert printed.status == real.status, real.body
    for name, value in printed.headers.items():
        assert real.headers.get(name) == value, name
    before = dict(bindings.real)
    if printed.body[:1] in tuple("{["):
        bindings.compare(json.loads(printed.body), json.loads(real.body))
    else:
        bindings.compare(printed.body, real.body)
    for name in bindings.real.keys() - before.keys():
        earlier = [known for known, value in before.items() if value == bindings.real[name]]
        assert not earlier, f"{name} is printed for what was {earlier[0]} before"


@contextmanager
def running_service(folder: Path) -> Iterator[str]:
    """Run `pacifica-notifications` on a new SQLite database; gives its URL."""
    environment = {
        "NOTIFICATIONS_CONFIG": str(folder / "none.ini"),
        "NOTIFICATIONS_CPCONFIG": str(folder / "none.conf"),
        "PEEWEE_URL": f"sqliteext:///{(folder / 'db.sqlite3').as_posix()}",
        "BROKER_URL": (folder / "queue").as_uri().replace("file://", "filesystem://localhost", 1),
    }
    with Program([BIN / "pacifica-notifications-cmd", "dbsync"], environment, folder) as dbsync:
        assert dbsync.wait() == 0, dbsync.output
    port = free_port()
    with web_server(environment, folder, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def curl() -> str:
    """Return curl; without it the test is skipped, or fails where CI is 'true'."""
    found = shutil.which("curl")
    if found is None:
        absent = "curl is not installed, so the examples cannot be run"
        if os.environ.get("CI") == "true":
            pytest.fail(absent)
        pytest.skip(absent)
    return found


def run_examples(
    page: list[Block],
    curl: str,
    service: str,
    folder: Path,
    wait: Callable[[], None] = lambda: None,
) -> int:
    """Run a page's commands in order and compare their answers; return how many there were.

    `wait` is called before each, as a reader takes a moment.
    """
    bindings, count = Bindings(), 0
    for block, following in pairwise([*page, Block("end", None, "")]):
        if block.caption is not None:
            text = bindings.replaced(block.text)
            (folder / block.caption).write_text(text, encoding="utf-8")
        if block.language != "console":
            continue
        arguments = [
            bindings.replaced(argument).replace(DOCUMENTED_SERVER, service)
            for argument in command_of(block)
        ]
        wait()
        quiet = ["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]
        done = subprocess.run(
            [curl, *quiet, *arguments], cwd=folder, capture_output=True, timeout=ANSWER, check=True
        )
        try:
            compare(Answer.of(following.text), Answer.of(done.stdout.decode()), bindings)
        except AssertionError as error:
            raise AssertionError(f"{error}\nin the answer to: {block.text}") from error
        count += 1
    return count


@pytest.mark.parametrize("page", PAGES)
def test_every_example_is_answered_as_printed_when_they_are_run_in_order(
    page: str, curl: str, tmp_path: Path
) -> None:
    with running_service(tmp_path) as service:
        count = run_examples(blocks(page), curl, service, tmp_path)
    assert count == sum(block.language == "console" for block in blocks(page)) > 0


def test_every_example_of_the_glass_box_is_answered_as_printed(curl: str, tmp_path: Path) -> None:
    page = blocks("glassbox.rst")
    with (
        RecordingServer(lambda _: (200, {}, b'{"status": "success"}')) as policy,
        migrated_database("sqlite", tmp_path) as database,
    ):
        environment = environment_of(tmp_path, database, POLICY_URL=policy.url)
        port = free_port()
        with web_server(environment, tmp_path, port), worker(environment, tmp_path):

            def wait_for_dispatch() -> None:
                waiting = "SELECT 1 FROM eventlog WHERE due IS NOT NULL"
                eventually(lambda: not databases.execute(database, waiting), ANSWER)

            url = f"http://127.0.0.1:{port}"
            count = run_examples(page, curl, url, tmp_path, wait_for_dispatch)
    assert count == sum(block.language == "console" for block in page) > 5


def test_every_request_of_the_page_is_followed_by_its_answer() -> None:
    page = blocks("exampleusage.rst")
    requests = [pair for pair in pairwise(page) if pair[0].language == "console"]
    assert len(requests) > 20
    for request, answer in requests:
        assert "--include" in command_of(request)
        assert answer.text.startswith("HTTP/1.1 "), request.text
    answers = [block for block in page if block.text.startswith("HTTP/1.1 ")]
    assert len(answers) == len(requests)


def test_every_call_of_the_api_is_among_the_examples() -> None:
    calls = set()
    for block in (block for page in PAGES for block in blocks(page)):
        if block.language == "console":
            method = METHOD.search(block.text)
            path = re.search(rf"{DOCUMENTED_SERVER}(\S+)", block.text)
            assert path is not None
            implied = "POST" if "--data" in block.text else "GET"
            calls.add(
                (
                    method[1] if method else implied,
                    UUID.sub("UUID", path[1].partition("?")[0].strip("'")),
                )
            )
    assert calls >= {
        ("POST", "/eventmatch"),
        ("GET", "/eventmatch"),
        ("GET", "/eventmatch/UUID"),
        ("PUT", "/eventmatch/UUID"),
        ("DELETE", "/eventmatch/UUID"),
        ("GET", "/eventmatch/UUID/delivery"),
        ("PUT", "/eventmatch/UUID/delivery"),
        ("POST", "/receive"),
        ("POST", "/backtests"),
        ("GET", "/backtests"),
        ("GET", "/backtests/UUID"),
        ("DELETE", "/backtests/UUID"),
        ("POST", "/eventmatch/UUID/replays"),
        ("GET", "/eventmatch/UUID/replays"),
        ("DELETE", "/eventmatch/UUID/replays/UUID"),
    }


ONE, OTHER = "466725b0-cbe1-45cd-b034-c3209aa4b6e0", "34e2cd54-3f5d-4b3c-9d3b-5e5b0f3f3d2a"
REAL = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: now\r\n\r\n" + json.dumps(
    {"uuid": OTHER, "name": "n", "list": [1, "2026-01-31T13:53:05.838827"]}
)


def printed(uuid: str = ONE, name: str = "n", more: str = "", status: str = "200 OK") -> Answer:
    date = "2020-02-02T02:02:02.000002"
    return Answer.of(
        f"HTTP/1.1 {status}\nContent-Type: application/json\n\n"
        f'{{"uuid": "{uuid}", "name": "{name}", "list": [1, "{date}"]{more}}}'
    )


def test_an_answer_is_as_printed_when_it_differs_in_uuids_and_dates_only() -> None:
    bindings = Bindings()
    compare(printed(), Answer.of(REAL), bindings)
    assert bindings.replaced(f"GET /{ONE}") == f"GET /{OTHER}"


@pytest.mark.parametrize(
    "wrong",
    [
        printed(name="other"),
        printed(more=', "more": null'),
        printed(status="201 Created"),
        printed(uuid="none"),
        Answer.of("HTTP/1.1 200 OK\nContent-Type: text/plain\n\n" + printed().body),
        Answer.of("HTTP/1.1 200 OK\n\n[]"),
        Answer.of("HTTP/1.1 200 OK"),
    ],
)
def test_an_error_in_the_page_is_noticed(wrong: Answer) -> None:
    with pytest.raises(AssertionError):
        compare(wrong, Answer.of(REAL), Bindings())


@pytest.mark.parametrize(
    "known",
    [
        {ONE: ONE},
        {"1" + ONE[1:]: OTHER},
        {"2020-02-02T02:02:02.000002": "2020-02-02T02:02:02.000002"},
        {"2021-02-02T02:02:02.000002": "2026-01-31T13:53:05.838827"},
    ],
)
def test_a_printed_uuid_or_date_that_stands_for_another_one_is_noticed(
    known: dict[str, str],
) -> None:
    with pytest.raises(AssertionError):
        compare(printed(), Answer.of(REAL), Bindings(known))


def rows() -> list[tuple[str, str, str]]:
    """Return the event that each example is about, its JSONPath, and whether it matches."""
    page = (DOCS / "subscriptions.rst").read_text(encoding="utf-8")
    events = [block for block in BLOCK.finditer(page) if block["language"] == "json"]
    return [
        (
            [event["caption"] for event in events if event.start() < row.start()][-1],
            row["jsonpath"],
            row["matches"],
        )
        for row in ROW.finditer(page)
    ]


def test_the_page_on_subscriptions_has_examples_of_both_outcomes() -> None:
    assert len(rows()) >= 25
    outcomes = {(event, matches) for event, _, matches in rows()}
    assert outcomes == {
        (event, matches) for event in ("ingest.json", "sample.json") for matches in ("yes", "no")
    }


@pytest.mark.parametrize(("caption", "jsonpath", "matches"), rows())
def test_an_example_of_a_jsonpath_matches_as_the_page_says(
    caption: str, jsonpath: str, matches: str
) -> None:
    (event,) = (block for block in blocks("subscriptions.rst") if block.caption == caption)
    assert find(parse(jsonpath), json.loads(event.text)) is (matches == "yes")
