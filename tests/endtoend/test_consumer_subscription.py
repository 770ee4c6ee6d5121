"""A consumer with the service as its producer: what was held for a killed one, and fetching."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from pacifica.notifications.consumer.ledger import Ledger
from tests.support import archives
from tests.support.consuming import ENDS, Site, listening, site
from tests.support.processes import BIN, Program
from tests.support.servers import AnswerTriple, Received, RecordingServer, eventually, free_port

EVENT = {
    "cloudEventsVersion": "0.1",
    "eventType": "org.pacifica.metadata.ingest",
    "source": "s",
    "data": [{"destinationTable": "Transactions._id", "value": 1}],
}
ARCHIVE = archives.zipped({"__main__.py": archives.ENTRY, "jsonpath2.txt": archives.JSONPATH})
UNKNOWN = "nobody"
TIMEOUT = 20
#: A target that is away disables its subscription at the first try, and what is held comes soon.
AT_ONCE = {"DELIVERY_ATTEMPTS": "1", "CELERY_SWEEP_INTERVAL": "0.3"}


def policy(request: Received) -> AnswerTriple:
    """Answer as Policy does, which knows all users but one."""
    if request.path == "/uploader":
        return 200, {}, b"[]" if UNKNOWN in request.body.decode() else b'[{"_id": 10}]'
    if UNKNOWN not in request.path:
        return 200, {}, b'{"status": "success"}'
    return (500 if request.method == "POST" else 404), {}, b"{}"


@dataclass(frozen=True)
class Running:
    """The URLs of a service and its Policy."""

    url: str
    policy: str


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the whole service for all tests."""
    port, folder = free_port(), tmp_path_factory.mktemp("service")
    command = [BIN / "pacifica-notifications-cmd", "serve", "-p", str(port), "--folder", "served"]
    with RecordingServer(policy) as asked:
        environment = {"POLICY_URL": asked.url, **AT_ONCE}
        with Program(command, environment, folder) as program:
            program.wait_for_line("ready at")
            yield Running(f"http://127.0.0.1:{port}", asked.url)


@pytest.fixture
def consumer(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as place:
        yield place


@contextmanager
def running(consumer: Site, service: Running, user: str) -> Iterator[Program]:
    options = ("--producer", service.url, "--policy", service.policy, "--user", user)
    with consumer.running(ARCHIVE, *options) as program:
        yield program


def send(service: Running, number: int) -> None:
    event = {**EVENT, "eventID": str(number)}
    answer = requests.post(f"{service.url}/receive", json=event, timeout=TIMEOUT)
    assert answer.status_code == 200, answer.text


def subscription(service: Running, user: str) -> dict[str, Any]:
    headers = {"Http-Remote-User": user}
    (only,) = requests.get(f"{service.url}/eventmatch", headers=headers, timeout=TIMEOUT).json()
    return only


def test_killed_consumer_gets_what_the_producer_held_at_its_next_start(
    consumer: Site, service: Running
) -> None:
    with running(consumer, service, "alice") as program:
        program.signal(signal.SIGKILL)
        program.wait()
    for number in range(3):
        send(service, number)
    eventually(lambda: subscription(service, "alice")["disabled"] is not None, ENDS)
    with running(consumer, service, "alice") as program:
        eventually(lambda: consumer.shown()["counts"]["done"] == 3, ENDS)
        assert {run["event"]["id"] for run in consumer.shown()["runs"]} == {"0", "1", "2"}
        assert consumer.shown()["subscription"]["state"] == "enabled"
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output


def test_user_whom_policy_does_not_know_is_a_line_and_a_state(
    consumer: Site, service: Running
) -> None:
    reason = f"Policy does not know the user {UNKNOWN}"
    with running(consumer, service, UNKNOWN) as program:
        program.wait_for_line(f"nothing will be sent here: {reason}", ENDS)
        shown = consumer.shown()["subscription"]
        assert (shown["state"], shown["error"]) == ("unknown user", reason)
        send(service, 7)
        program.wait_for_line(f"the producer disabled the subscription: {reason}", ENDS)
        shown = consumer.shown()["subscription"]
        assert (shown["state"], shown["error"]) == ("disabled", reason)


def fetching(consumer: Site, service: Running, user: str) -> Any:
    """Run a consumer that opens no port."""
    options = ("--producer", service.url, "--policy", service.policy, "--user", user, "--pull")
    return consumer.running(ARCHIVE, *options)


def done(consumer: Site) -> set[str | None]:
    """Return the ids of the events whose runs have succeeded."""
    runs = Ledger(consumer.work / "ledger.sqlite3").newest(100)
    return {run.event["id"] for run in runs if run.state == "done"}


def test_fetching_consumer_opens_no_port_and_misses_nothing_while_it_is_down(
    consumer: Site, service: Running
) -> None:
    with fetching(consumer, service, "carol") as program:
        send(service, 10)
        eventually(lambda: done(consumer) == {"10"}, ENDS)
        assert listening(program.pid) == []
        program.signal(signal.SIGKILL)
        program.wait()
    send(service, 11)
    with fetching(consumer, service, "carol") as program:
        eventually(lambda: done(consumer) == {"10", "11"}, ENDS)
        program.signal(signal.SIGTERM)
        assert program.wait() == 0, program.output
    assert subscription(service, "carol")["target_url"] == "pull:"
    send(service, 12)
    with fetching(consumer, service, "carol") as program:
        eventually(lambda: done(consumer) == {"10", "11", "12"}, ENDS)
    command = [*consumer.command(ARCHIVE), "--producer", service.url, "--user", "carol", "--remove"]
    with Program(command, {}, consumer.folder) as program:
        assert program.wait(ENDS) == 0, program.output
    headers = {"Http-Remote-User": "carol"}
    listed = requests.get(f"{service.url}/eventmatch", headers=headers, timeout=TIMEOUT)
    assert listed.json() == []
