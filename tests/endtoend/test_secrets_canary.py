"""Secrets stay where they belong: canaries are looked for in all that programs write and answer."""

import http.client
import json
import os
import signal
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet

from tests.support import databases
from tests.support.deployments import Service, environment_of
from tests.support.processes import BIN, Program
from tests.support.servers import (
    RawServer,
    Received,
    RecordingServer,
    banner,
    eventually,
    free_port,
    hanging,
)
from tests.support.spellings import SPELLINGS, repeats
from tests.support.templates import migrated_database

CANARY = "canary-0123456789-abcdefghijklmnopqrstuvwxyz"
#: Secrets of operators, each another one.
TOKEN, PROXY = f"token-{CANARY}", f"proxy-{CANARY}"
AUTHS: dict[str, dict[str, Any]] = {
    "basic": {"type": "basic", "basic": {"username": "bob", "password": CANARY}},
    "header": {"type": "header", "header": {"type": "Bearer", "credentials": CANARY}},
    "signature": {
        "type": "signature",
        "signature": {"secrets": [f"whsec_{b64encode(CANARY.encode()).decode()}"]},
    },
}
#: What older versions left, or what somebody wrote into the database.
UNUSABLE: tuple[dict[str, Any], ...] = (
    {"type": "header", "header": {"type": "Bearer", "credentials": f"{CANARY}\r\nX: y"}},
    {"type": "header", "header": {"type": "Bearer\n", "credentials": CANARY}},
    {"type": "basic", "basic": {"password": CANARY}},
    {"type": "signature", "signature": {"secrets": [CANARY]}},
    {"type": "signature", "signature": CANARY},
)
SETTINGS = {
    "DEFAULT_USER": "",
    "DELIVERY_ATTEMPTS": "2",
    "DELIVERY_CONNECT_TIMEOUT": "0.5",
    "DELIVERY_HORIZON": "0.5",
    "DELIVERY_RETRY_FIRST": "0.1",
    "DELIVERY_TIMEOUT": "0.8",
    "CELERY_SWEEP_INTERVAL": "0.2",
    "RECOVERY_WAITS": "0.3",
    "NOTIFICATIONS_PROXY_SECRET": PROXY,
    "RECEIVE_TOKEN": TOKEN,
}
#: Has every logger of a program write all that it has to say.
LOUD = "import logging, sys\nlogging.basicConfig(level=logging.DEBUG, stream=sys.stderr)\n"
CHERRYPY = (
    "[global]\nlog.screen: True\nlog.access_file: 'access.log'\nlog.error_file: 'error.log'\n"
)
USER = "alice"


def forms(secret: str) -> set[bytes]:
    """Return a secret as it may be written: in plain, and in Base64 wherever it begins there."""
    encoded = {secret.encode()}
    for before in (b"", b"1", b"12", b"bob:", b"eve:"):
        text = b64encode(before + secret.encode())
        encoded.add(text[8:-4])  # without what depends on what stands before and after it
    return encoded


FORMS = forms(CANARY)


def leaks(places: Iterable[tuple[str, bytes]]) -> set[str]:
    """Return the places where a canary is found."""
    return {name for name, content in places if any(form in content for form in FORMS)}


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()


@dataclass(frozen=True)
class Loud:
    """A web server and a worker that log all they can, and what they have written."""

    service: Service
    programs: tuple[Program, Program]

    def call(
        self, method: str, path: str, body: Any = None, user: str = USER, **headers: str
    ) -> tuple[int, bytes]:
        given = {
            "Http-Remote-User": user,
            "Content-Type": "application/json",
            "Pacifica-Proxy-Secret": PROXY,
            "Authorization": f"Bearer {TOKEN}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        address = ("127.0.0.1", self.service.port)
        with closing(http.client.HTTPConnection(*address, timeout=10)) as connection:
            connection.request(method, path, content, given)
            response = connection.getresponse()
            return response.status, response.read() + str(response.headers).encode()

    def subscribe(self, target: str, auth: Any) -> str:
        body = {"name": "n", "jsonpath": "$.data", "target_url": target, "auth": auth}
        status, answer = self.call("POST", "/eventmatch", body)
        assert status == 200, answer
        return json.JSONDecoder().raw_decode(answer.decode())[0]["uuid"]

    def end(self) -> None:
        for program in self.programs:
            program.signal(signal.SIGTERM)
        for program in self.programs:
            program.wait()

    def written(self) -> Iterator[tuple[str, bytes]]:
        """Give all that the programs have written, but the database."""
        for number, program in enumerate(self.programs):
            yield f"output of program {number}", program.output.encode()
        for name, content in files(self.service.folder):
            if "db.sqlite3" not in name:
                yield name, content


@contextmanager
def loud(folder: Path, **settings: str) -> Iterator[Loud]:
    """Run a web server and a worker at the level of logs that has most."""
    (folder / "loud").mkdir()
    (folder / "loud" / "sitecustomize.py").write_text(LOUD)
    (folder / "cpconfig.ini").write_text(CHERRYPY)
    path = os.pathsep.join(filter(None, [str(folder / "loud"), os.environ.get("PYTHONPATH")]))
    port = free_port()
    with ExitStack() as stack:
        database = stack.enter_context(migrated_database("sqlite", folder))
        environment = {
            **environment_of(folder, database, **{**SETTINGS, **settings}),
            "NOTIFICATIONS_CPCONFIG": str(folder / "cpconfig.ini"),
            "PYTHONPATH": path,
        }
        web = [BIN / "pacifica-notifications", "-a", "127.0.0.1", "-p", str(port)]
        worker = [BIN / "celery", "-A", "pacifica.notifications.tasks", "worker"]
        worker += ["--loglevel", "DEBUG", "--concurrency", "1"]
        programs = (
            stack.enter_context(Program(web, environment, folder)),
            stack.enter_context(Program(worker, environment, folder)),
        )
        programs[0].wait_for_line("Bus STARTED")
        programs[1].wait_for_line(" ready.")
        yield Loud(Service(folder, port, environment), programs)


def echo(received: Received) -> tuple[int, Mapping[str, str], bytes]:
    """Answer as pages for debugging do: with the request, and what it means."""
    given = received.headers.get("Authorization", "")
    meant = CANARY if given else "nothing"
    return 500, {"X-Given": given}, f"you sent {given!r}, which means {meant}".encode()


@contextmanager
def failing_targets() -> Iterator[dict[str, str]]:
    """Give the URLs of targets that fail, each in a way of its own."""

    def answering(status: int, headers: Mapping[str, str] | None = None) -> Callable[..., Any]:
        return lambda _: (status, headers or {}, b"an answer")

    with ExitStack() as stack:
        servers = {
            str(status): stack.enter_context(RecordingServer(answering(status, headers)))
            for status, headers in {
                204: {},
                404: {},
                410: {},
                429: {"Retry-After": "1"},
                500: {},
                302: {"Location": "http://127.0.0.1/elsewhere"},
            }.items()
        }
        echoing = stack.enter_context(RecordingServer(echo))
        silent = stack.enter_context(RawServer(hanging))
        other = stack.enter_context(RawServer(banner))
        yield {
            **{name: server.url for name, server in servers.items()},
            "echo": echoing.url,
            "hanging": silent.url,
            "banner": other.url,
            "refused": f"http://127.0.0.1:{free_port()}",
            "broken TLS": f"https://127.0.0.1:{silent.port}",
        }


def other_columns(database: str) -> Iterator[tuple[str, bytes]]:
    """Give the text of every column but that in which auth is stored."""
    with closing(sqlite3.connect(database.removeprefix("sqliteext:///"))) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):  # noqa: S608
                for name in row.keys():  # noqa: SIM118 a row of SQLite gives its values
                    if (table, name) != ("eventmatch", "auth"):
                        yield f"{table}.{name}", str(row[name]).encode()


@pytest.mark.parametrize("keys", ["", Fernet.generate_key().decode()], ids=["plain", "encrypted"])
def test_secrets_are_in_no_log_message_column_or_answer_however_deliveries_fail(
    tmp_path: Path, keys: str
) -> None:
    told = {"SECURITY_KEY": keys, "SECURITY_MASK_AUTH": "yes"}
    answers: list[tuple[str, bytes]] = []
    with (
        RecordingServer(lambda _: (200, {}, b"[]")) as policy,
        failing_targets() as targets,
        loud(tmp_path, POLICY_URL=policy.url, **told) as running,
    ):
        database = running.service.database
        mine = [running.subscribe(url, auth) for url in targets.values() for auth in AUTHS.values()]
        broken = [running.subscribe(targets["204"], {}) for _ in UNUSABLE]
        for uuid, auth in zip(broken, UNUSABLE, strict=True):
            store(database, uuid, json.dumps(auth))
        hostile_requests(running, mine[0], answers)
        failing = len(mine) - len(AUTHS) + len(UNUSABLE)
        _, answer = running.call("POST", "/receive", {"data": 1})
        event = answer.decode()[:36]

        def count(condition: str) -> int:
            return databases.execute(
                database,
                f"SELECT COUNT(*) FROM eventmatch WHERE {condition}",  # noqa: S608
            )[0][0]

        eventually(lambda: count("error IS NOT NULL") == failing, timeout=20)
        eventually(lambda: count("probes > 1") >= 3 * len(AUTHS), timeout=20)
        answers.append(("eventget", running.service.command("eventget", event).encode()))
        for uuid in (*mine, *broken, str(uuid4())):
            for user in (USER, "mallory"):
                answers.append((uuid, running.call("GET", f"/eventmatch/{uuid}", user=user)[1]))
        answers.append(("list", running.call("GET", "/eventmatch")[1]))
        for uuid in mine[:3]:
            answers.append(("delete", running.call("DELETE", f"/eventmatch/{uuid}")[1]))
        running.end()
        outputs = [program.output for program in running.programs]
        # Everything was said that there is to say; otherwise nothing was to be found.
        assert "INSERT INTO" in outputs[0]
        assert "UPDATE" in outputs[1]
        assert leaks(answers) == set()
        assert leaks(running.written()) == set()
        assert leaks(other_columns(database)) == set()
        forget(database, broken)
        found = leaks(files(Path(database.removeprefix("sqliteext:///")).parent))
        assert bool(found) == (not keys), found


def hostile_requests(running: Loud, own: str, answers: list[tuple[str, bytes]]) -> None:
    """Send what is refused, with secrets in all the wrong places."""
    bad: list[Any] = [
        {"auth": {"type": "basic", "basic": {"username": "b:ob", "password": CANARY}}},
        {"auth": {"type": "basic", "basic": {"username": "bob", "password": f"{CANARY}\0"}}},
        {"auth": {"type": "basic", "basic": {"username": "bob", "password": {"x": CANARY}}}},
        {"auth": {"type": "header", "header": {"type": CANARY + " ", "credentials": CANARY}}},
        {"auth": {"type": "signature", "signature": {"secrets": [f"whsec_{CANARY}"]}}},
        {"auth": {"type": CANARY}},
        {"auth": CANARY},
        {"target_url": f"http://bob:{CANARY}@127.0.0.1/"},
        json.dumps({"auth": AUTHS["basic"]}).encode()[:-1],
        json.dumps({"auth": AUTHS["basic"]}).encode() + b"\xff",
        json.dumps({"auth": AUTHS["basic"], "extensions": {"x": "y" * 270_000}}).encode(),
    ]
    for body in bad:
        for method, path in (("POST", "/eventmatch"), ("PUT", f"/eventmatch/{own}")):
            whole = body
            if isinstance(body, dict):
                whole = {"name": "n", "jsonpath": "$", "target_url": "http://127.0.0.1/", **body}
            status, answer = running.call(method, path, whole)
            assert status in (400, 413), answer
            answers.append((f"{method} {body!r}"[:80], answer))
    for headers in (
        {"Pacifica_Proxy_Secret": PROXY[:-1]},
        {"Pacifica_Proxy_Secret": f"{PROXY}, {PROXY}"},
    ):
        status, answer = running.call("GET", "/eventmatch", **headers)
        assert status == 403, answer
        answers.append(("proxy secret", answer))
    for authorization in (f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN):
        status, answer = running.call("POST", "/receive", {"data": 1}, Authorization=authorization)
        assert status == 401, answer
        answers.append(("token", answer))


def store(database: str, uuid: str, auth: str) -> None:
    """Have an auth stored as it is."""
    with closing(sqlite3.connect(database.removeprefix("sqliteext:///"))) as connection:
        connection.execute("UPDATE eventmatch SET auth = ? WHERE uuid = ?", (auth, UUID(uuid).hex))
        connection.commit()


def forget(database: str, uuids: Iterable[str]) -> None:
    """Forget what was stored in plain by this test and not by the service."""
    with closing(sqlite3.connect(database.removeprefix("sqliteext:///"))) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        for uuid in uuids:
            connection.execute(
                "UPDATE eventmatch SET auth = '{}' WHERE uuid = ?", (UUID(uuid).hex,)
            )
        connection.commit()
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


# What targets repeat.

REPEATED = "Qw7/Zebra=Kumquat&Vex"


def spelling(received: Received) -> tuple[int, Mapping[str, str], bytes]:
    """Answer with the Authorization header, as the path says: with a status, and in a spelling."""
    _, status, name = received.path.split("/")
    spelled = SPELLINGS[unquote(name)](received.headers["Authorization"])
    return int(status), {}, f"you sent {spelled}".encode()


def test_credentials_are_in_no_log_column_or_answer_however_a_target_spells_them(
    tmp_path: Path,
) -> None:
    basic = {"type": "basic", "basic": {"username": "bob", "password": REPEATED}}
    bearer = {"type": "header", "header": {"type": "Bearer", "credentials": REPEATED}}
    ways = [(status, name) for status in (200, 404, 500) for name in SPELLINGS]
    with (
        RecordingServer(lambda _: (200, {}, b"[]")) as policy,
        RecordingServer(spelling) as target,
        RecordingServer(lambda _: (404, {}, b"no such workflow")) as plain,
        loud(tmp_path, POLICY_URL=policy.url, SECURITY_MASK_AUTH="yes") as running,
    ):
        database = running.service.database
        mine = [
            running.subscribe(f"{target.url}/{status}/{quote(name)}", auth)
            for status, name in ways
            for auth in (basic, bearer)
        ]
        mine.append(running.subscribe(plain.url, basic))
        _, answer = running.call("POST", "/receive", {"data": 1})
        event = answer.decode()[:36]
        failed = "SELECT COUNT(*) FROM eventmatch WHERE error IS NOT NULL"
        failing = 4 * len(SPELLINGS) + 1
        eventually(lambda: databases.execute(database, failed)[0][0] == failing, timeout=30)
        record = running.service.command("eventget", event)
        shown = [(uuid, running.call("GET", f"/eventmatch/{uuid}")[1]) for uuid in mine]
        running.end()
        told = [("eventget", record.encode()), *shown, *other_columns(database)]
        told += running.written()
    assert record.count("it could repeat the credentials") == 2 * len(ways)
    assert b"status 404: no such workflow" in shown[-1][1]
    # Pieces that are so long are in no log by chance.
    repeating = {name for name, shown in told if repeats(shown.decode("latin-1"), REPEATED, 8)}
    assert repeating == set()


# What operators configure.

BAD = {
    "SECURITY_KEY": (CANARY, f"{'A' * 43}= {CANARY}"),
    "RECEIVE_TOKEN": (f"{CANARY}é",),
    "PEEWEE_URL": (
        *(f"nosuch://u:{CANARY}@h/d", f"postgresql://u:{CANARY}@h:x/d", f"mysql://u:{CANARY}@h/"),
        *(f"postgresql://u:a/{CANARY}@h/d", f"postgresql://u:a#{CANARY}@h/d"),
        *(f"postgresql://u:a?{CANARY}@h/d", f"mysql://h:x/d?password={CANARY}"),
    ),
    "BROKER_URL": (
        *(f"amqp://u:a/{CANARY}@h//", f"amqp://u:a#{CANARY}@h//", f"redis://:a?{CANARY}@h/0"),
        *(f"amqp://u:{CANARY}@h:x//", f"redis://:[{CANARY}@h/0"),
        f"nosuch://u:{CANARY}@h/",
    ),
}
UNREACHED = (
    "postgresql://postgres:{}@127.0.0.1:1/x",
    "postgresql://postgres@127.0.0.1:1/x?sslpassword={}",
    "mysql://root:{}@127.0.0.1:1/x",
)
PROGRAMS = (
    "pacifica-notifications",
    "pacifica-notifications-cmd dbsync",
    "celery -A pacifica.notifications.tasks worker --pool solo --loglevel DEBUG",
)


@contextmanager
def started(program: str, folder: Path, **settings: str) -> Iterator[Program]:
    environment = environment_of(folder, f"sqliteext:///{folder / 'db.sqlite3'}", **settings)
    command, *arguments = program.split()
    with Program([BIN / command, *arguments], environment, folder) as running:
        yield running


def assert_quiet(program: Program) -> None:
    assert leaks([("output", program.output.encode())]) == set(), program.output


@pytest.mark.parametrize(
    ("program", "name", "value"),
    [
        *((PROGRAMS[1], name, value) for name, values in BAD.items() for value in values),
        *((program, name, BAD[name][0]) for name in BAD for program in PROGRAMS[::2]),
    ],
)
def test_bad_setting_is_refused_without_its_secret(
    tmp_path: Path, program: str, name: str, value: str
) -> None:
    with started(program, tmp_path, **{name: value}) as running:
        assert running.wait() == 2, running.output
        assert_quiet(running)
        assert "***" in running.output


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("url", UNREACHED)
def test_database_that_is_not_reached_is_named_without_its_password(
    tmp_path: Path, program: str, url: str
) -> None:
    told = {"PEEWEE_URL": url.format(CANARY), "DATABASE_CONNECT_ATTEMPTS": "1"}
    with started(program, tmp_path, **told) as running:
        assert running.wait() != 0
        assert_quiet(running)


@pytest.mark.parametrize(
    ("broker", "sign"),
    [
        ("amqp://guest:{}@127.0.0.1:1//", "the broker fails: connection refused"),
        ("redis://:{}@127.0.0.1:1/0", "the broker fails: connection refused"),
        pytest.param("amqp://guest:{}@127.0.0.1:5672//", "refused", marks=pytest.mark.server),
        pytest.param(
            "redis://user:{}@127.0.0.1:6379/0", "authentication error", marks=pytest.mark.server
        ),
    ],
)
def test_broker_that_is_not_reached_is_named_without_its_password(
    tmp_path: Path, broker: str, sign: str
) -> None:
    url = broker.format(CANARY)
    with migrated_database("sqlite", tmp_path) as database:
        results = url if url.startswith("redis") else "rpc://"
        told = {"PEEWEE_URL": database, "BROKER_URL": url, "BACKEND_URL": results}
        with started(PROGRAMS[2], tmp_path, **told) as worker:
            worker.wait_for_line(sign)
            assert_quiet(worker)
        port = free_port()
        program = f"{PROGRAMS[0]} -a 127.0.0.1 -p {port}"
        with started(program, tmp_path, **told) as web:
            web.wait_for_line("Bus STARTED")
            Service(tmp_path, port, {}).receive()
            web.wait_for_line("the broker fails: ")
            assert_quiet(web)
