"""From data that arrives to data that was made of it, through every service that is concerned."""

import http.client
import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pacifica.notifications.consumer.author.pacifica_notifications_consumer import download, upload
from tests.endtoend.test_consumer_peers import files_in
from tests.support.consumers import EXAMPLE
from tests.support.consuming import COMMAND, listening
from tests.support.pacifica import INSTRUMENT, PROJECT, USER, Pacifica, running
from tests.support.processes import BIN, Program
from tests.support.servers import RecordingServer, eventually, free_port

pytestmark = pytest.mark.server

NAME = "dmlb2001"
#: Policy's search finds the user NAME by it, too.
PART = "dml"
ATTRIBUTES = {
    "Transactions.submitter": USER,
    "Transactions.project": PROJECT,
    "Transactions.instrument": INSTRUMENT,
}
#: Seconds: for installing what the example needs, and for the whole way of a transaction.
STARTS = 120.0
ARRIVES = 90.0


def subscribe(port: int, target: str, user: str) -> None:
    """Have every ingest sent to a target, too."""
    body = {
        "name": "all",
        "jsonpath": '$[?(@["eventType"] = "org.pacifica.metadata.ingest")]',
        "target_url": target,
    }
    assert call(port, "POST", user, body)["disabled"] is None


def call(port: int, method: str, user: str, body: object = None) -> Any:
    headers = {"Http-Remote-User": user, "Content-Type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, "/eventmatch", body and json.dumps(body), headers)
        response = connection.getresponse()
        assert response.status == 200
        return json.loads(response.read())


def variables(pacifica: Pacifica) -> dict[str, str]:
    return {
        "PACIFICA_CART_URL": pacifica.cart,
        "PACIFICA_INGEST_URL": pacifica.ingest,
        "PACIFICA_POLICY_URL": pacifica.policy,
        "PACIFICA_USER": NAME,
        "PACIFICA_POLL": "0.2",
    }


def test_text_that_arrives_comes_back_in_upper_case_as_a_transaction_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, endpoint_port = free_port(), free_port()
    with (
        RecordingServer() as watcher,
        running(tmp_path, f"http://127.0.0.1:{port}/receive") as pacifica,
        Program(
            [BIN / "pacifica-notifications-cmd", "serve", "-p", str(port), "--folder", "served"],
            {"POLICY_URL": pacifica.policy},
            tmp_path,
        ) as service,
    ):
        service.wait_for_line("ready at")
        subscribe(port, watcher.url, NAME)
        subscribe(port, watcher.url, PART)
        archive = [BIN / "pacifica-notifications-consumer", "zip", EXAMPLE, "consumer.zip"]
        with Program(archive, {}, tmp_path) as zipping:
            assert zipping.wait() == 0, zipping.output
        command = [
            *(COMMAND, "consumer.zip", "--producer", f"http://127.0.0.1:{port}", "--user", NAME),
            *("--port", str(endpoint_port), "--cart", pacifica.cart, "--ingest", pacifica.ingest),
            *("--policy", pacifica.policy),
        ]
        with Program(command, {}, tmp_path) as consumer:
            consumer.wait_for_line("ready: ", STARTS)
            for name, value in variables(pacifica).items():
                monkeypatch.setenv(name, value)
            (tmp_path / "uploads").mkdir()
            (tmp_path / "uploads" / "foo.txt").write_text("Straße é\n")
            (tmp_path / "uploads" / "data.bin").write_bytes(b"\0")
            arrived = upload(tmp_path, ATTRIBUTES).get()
            watcher.wait_for(2, ARRIVES)
            first, second = (json.loads(each.body) for each in watcher.requests[:2])
            (tmp_path / "notification.json").write_bytes(watcher.requests[1].body)
            download(tmp_path).get()
            consumer.signal(signal.SIGTERM)
            assert consumer.wait() == 0, consumer.output
        with Program([*command, "--pull"], {}, tmp_path) as consumer:
            consumer.wait_for_line("ready: ", STARTS)
            consumer.signal(signal.SIGKILL)
            consumer.wait()
        while_down = upload(tmp_path, ATTRIBUTES).get()
        watcher.wait_for(3, ARRIVES)
        with Program([*command, "--pull"], {}, tmp_path) as consumer:
            consumer.wait_for_line("ready: ", STARTS)
            watcher.wait_for(4, ARRIVES)
            assert listening(consumer.pid) == []
            consumer.signal(signal.SIGTERM)
            assert consumer.wait() == 0, consumer.output
        eventually(lambda: call(port, "GET", PART)[0]["disabled"] is not None, ARRIVES)
        assert call(port, "GET", PART)[0]["error"] == f"Policy does not know the user {PART}"
    assert files_in(tmp_path / "downloads") == {"foo.txt": "STRASSE É\n".encode()}
    assert first["eventID"] == arrived["eventID"]
    assert key_values(second) == {
        "upper case of transaction": str(value_of("Transactions._id", first))
    }
    third, fourth = (json.loads(each.body) for each in watcher.requests[2:4])
    assert third["eventID"] == while_down["eventID"]
    assert key_values(fourth) == {
        "upper case of transaction": str(value_of("Transactions._id", third))
    }


def value_of(table: str, event: dict[str, Any]) -> Any:
    (found,) = [each["value"] for each in event["data"] if each["destinationTable"] == table]
    return found


def key_values(event: dict[str, Any]) -> dict[str, str]:
    return {
        each["key"]: each["value"]
        for each in event["data"]
        if each["destinationTable"] == "TransactionKeyValue"
    }
