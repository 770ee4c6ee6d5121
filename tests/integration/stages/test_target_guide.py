"""The guide for authors of targets: what it prints arrives, and its Python does what it says."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.delivery import objection, permission_request
from pacifica.notifications.flow import Delivery
from pacifica.notifications.store import subscriptions
from pacifica.notifications.store.deliveries import events_of
from pacifica.notifications.subscriptions import Subscription, new_subscription
from pacifica.notifications.transport import Transport
from tests.integration.stages.flow import Flow, match_of
from tests.integration.test_documentation_examples import Block, blocks
from tests.support.servers import Headers, Received, eventually, free_port

PAGE = blocks("targets.rst")
PROGRAMS = {block.caption: block.text for block in PAGE if block.language == "python"}
PRINTED = [block for block in PAGE if block.language == "http"]
AUTH = json.loads(next(block.text for block in PAGE if block.caption == "auth.json"))
EVENT = json.loads(next(block.text for block in PAGE if block.caption == "event.json"))
SECRET = AUTH["auth"]["signature"]["secrets"][0]


@pytest.fixture
def engine() -> str:
    """Name the engine of the flow's database."""
    return "sqlite"


def functions(caption: str) -> dict[str, Any]:
    """Return what a block of Python of the page defines."""
    names: dict[str, Any] = {}
    exec(compile(PROGRAMS[caption], caption, "exec"), names)  # noqa: S102 it is our own
    return names


def delivered(flow: Flow, changes: dict[str, str] | None = None, **body: Any) -> Received:
    """Return what the target got of the page's event."""
    subscription = flow.subscribe(**body)
    assert subscriptions.change_delivery_format("alice", subscription, changes or {})
    flow.receive(EVENT)
    flow.run()
    subscriptions.delete("alice", subscription)
    return flow.target.requests[-1]


@pytest.mark.parametrize("printed", PRINTED, ids=lambda block: block.caption)
def test_event_arrives_as_it_is_printed_in_each_form(flow: Flow, printed: Block) -> None:
    specversion, mode = (printed.caption or "").split(" ")
    received = delivered(flow, {"specversion": specversion, "mode": mode})
    head, _, body = printed.text.partition("\n\n")
    first, *lines = head.split("\n")
    assert first == f"{received.method} {received.path} HTTP/1.1"
    pairs = (line.partition(":") for line in lines)
    headers = Headers([(name, value.strip()) for name, _, value in pairs])
    assert {name: received.headers.get(name) for name in headers} == headers
    assert {name for name in received.headers if name.startswith("ce-")} == {
        name for name in headers if name.startswith("ce-")
    }
    assert json.loads(received.body) == json.loads(body)


def test_every_form_of_both_versions_is_printed() -> None:
    assert {block.caption for block in PRINTED} == {
        f"{version} {mode}" for version in ("0.1", "1.0") for mode in ("structured", "binary")
    }


def test_every_program_of_the_page_is_executed_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert len(PROGRAMS) >= 8
    assert [name for name in PROGRAMS if f'"{name}"' not in text] == []


@contextmanager
def running(program: str, folder: Path, *arguments: str) -> Iterator[Callable[[], list[str]]]:
    """Run a program of the page; gives what returns the lines that it has printed."""
    script, printed = folder / program, folder / "printed"
    script.write_text(PROGRAMS[program], encoding="utf-8")
    with (
        printed.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-W", "error", script, *arguments],
            stdout=output,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        ) as running,
    ):
        try:
            yield lambda: printed.read_text(encoding="utf-8").splitlines()
        finally:
            running.terminate()


def is_listening(url: str) -> bool:
    with Transport() as transport:
        result = transport.submit(permission_request(url, (), "events.example.org")).result(5)
    return objection(result, "events.example.org") is None


def test_target_of_the_page_agrees_takes_each_event_once_and_prints_it(
    flow: Flow, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{(port := free_port())}/"
    with running("target.py", tmp_path, str(port), str(tmp_path / "seen.sqlite3")) as printed:
        eventually(lambda: is_listening(url), timeout=10)
        flow.subscribe(target_url=url)
        event = flow.receive(EVENT)
        flow.run()
        assert (match_of(event).state, match_of(event).target_status) == ("delivered", "204")
        flow.pipeline.deliverer.send(*again(event, url))
        flow.settle()
        eventually(lambda: printed() == [EVENT["id"]])


def again(event: UUID, url: str) -> tuple[Any, Any]:
    """Return a delivery that was made already, as if its answer had been lost, and its event."""
    match = match_of(event)
    to = Subscription(match.subscription, "alice", url, {}, {}, 0)
    deliveries = [Delivery(match.uuid, event, 2, to)]
    return deliveries, events_of(deliveries)


def test_work_is_done_once_and_again_only_when_it_failed(flow: Flow, tmp_path: Path) -> None:
    once, done = functions("duplicates.py")["once"], []
    headers, database = delivered(flow).headers, tmp_path / "seen.sqlite3"

    def failing(_connection: Any) -> None:
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 that of the line above
        once(database, headers, failing)
    assert [once(database, headers, done.append) for _ in range(3)] == [True, False, False]
    assert len(done) == 1


@pytest.mark.parametrize("specversion", ["0.1", "0.3", "1.0"])
def test_identity_is_the_same_in_every_version(flow: Flow, specversion: str) -> None:
    body = delivered(flow, {"specversion": specversion}).body
    assert functions("identity.py")["identity"](body) == (EVENT["source"], EVENT["id"])


def test_new_secret_is_one_that_a_subscription_may_have(tmp_path: Path) -> None:
    with running("new_secret.py", tmp_path) as printed:
        eventually(lambda: len(printed()) == 1, timeout=10)
    auth = {"type": "signature", "signature": {"secrets": printed()}}
    body = {"name": "n", "jsonpath": "data", "target_url": "http://h/", "auth": auth}
    assert new_subscription(body, "alice", 4096)["auth"] == auth


@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize("caption", ["verify.py", "verify_alone.py"])
def test_signature_is_verified_as_the_page_says(flow: Flow, caption: str, mode: str) -> None:
    is_genuine = functions(caption)["is_genuine"]
    other = SECRET.replace("AAE", "BBE")
    both = {"type": "signature", "signature": {"secrets": [other, SECRET]}}
    for auth in (AUTH["auth"], both):
        received = delivered(flow, {"mode": mode}, auth=auth)
        headers, body = received.headers, received.body
        assert is_genuine(SECRET, headers, body)
        assert is_genuine(other, headers, body) == (auth is both)
        assert not is_genuine(SECRET, headers, body + b" ")
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            assert not is_genuine(SECRET, {**headers, name: "1"}, body)
            left = {each: value for each, value in headers.items() if each != name}
            assert not is_genuine(SECRET, left, body)


def test_signature_is_of_the_last_minutes_as_the_page_says(flow: Flow) -> None:
    received = delivered(flow, auth=AUTH["auth"])
    is_genuine = functions("verify_alone.py")["is_genuine"]
    assert is_genuine(SECRET, received.headers, received.body, tolerance=60)
    assert not is_genuine(SECRET, received.headers, received.body, tolerance=-1)
    assert not is_genuine(SECRET, {**received.headers, "webhook-signature": "v1,é"}, received.body)


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (
            {"type": "basic", "basic": {"username": "pacifica", "password": "sécret:"}},
            ("pacifica", "sécret:"),
        ),
        (
            {"type": "header", "header": {"type": "Bearer", "credentials": "tok123"}},
            "Bearer tok123",
        ),
    ],
)
def test_authorization_is_checked_as_the_page_says(flow: Flow, auth: Any, expected: Any) -> None:
    page = functions("authorization.py")
    expected = page["basic"](*expected) if isinstance(expected, tuple) else expected
    headers = delivered(flow, auth=auth).headers
    assert page["is_allowed"](headers, expected)
    assert not page["is_allowed"](headers, expected + "x")
    assert not page["is_allowed"](delivered(flow).headers, expected)


def test_handshake_of_the_page_agrees_with_its_senders_only(flow: Flow) -> None:
    agreement = functions("handshake.py")["agreement"]
    for senders, agrees in (({"events.example.org"}, True), ({"other.example.org"}, False)):
        flow.target.answer = lambda received, senders=senders: (
            *agreement(received.headers, senders),
            b"",
        )
        with Transport() as transport:
            asked = permission_request(flow.target.url, (), "events.example.org")
            result = transport.submit(asked).result(5)
        assert (objection(result, "events.example.org") is None) == agrees


@pytest.mark.parametrize("specversion", ["0.3", "1.0"])
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_sdk_reads_the_event_as_the_page_says(flow: Flow, specversion: str, mode: str) -> None:
    received = delivered(flow, {"specversion": specversion, "mode": mode})
    event = functions("sdk.py")["read"](received.headers, received.body)
    assert (event.get_id(), event.get_type()) == (EVENT["id"], EVENT["type"])
    assert (event.get_source(), event.get_subject()) == (EVENT["source"], EVENT["subject"])
    assert (event.get_extension("color"), event.get_data()) == ("red", EVENT["data"])
