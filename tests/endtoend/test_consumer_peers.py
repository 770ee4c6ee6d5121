"""`download`, `upload` and the example of the documentation, with Pacifica's own services."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from pacifica.notifications.consumer.author.pacifica_notifications_consumer import download, upload
from tests.support.consumers import EXAMPLE, installed
from tests.support.pacifica import INSTRUMENT, PROJECT, USER, running
from tests.support.processes import Program
from tests.support.servers import RecordingServer, eventually

pytestmark = pytest.mark.server

FILES = {"a/b/foo.txt": "Straße é\n".encode(), "data/パソ.txt": b"bar", "x.bin": b"\0\xff" * 70_000}
EVENTUALLY = 60


def files_in(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def ingested(target: RecordingServer, count: int) -> list[dict[str, Any]]:
    """Return Metadata's events of transactions, once there are so many among all its events."""

    def arrived() -> list[dict[str, Any]]:
        events = [json.loads(each.body) for each in list(target.requests)]
        return [each for each in events if each["eventType"] == "org.pacifica.metadata.ingest"]

    eventually(lambda: len(arrived()) >= count, EVENTUALLY)
    return arrived()


def same(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the records of an event in an order of their own, without the files' numbers."""
    records = [
        {name: value for name, value in each.items() if name != "_id"} for each in event["data"]
    ]
    return sorted(records, key=lambda each: json.dumps(each, sort_keys=True))


def test_a_transaction_goes_through_ingest_and_cart_and_comes_out_in_upper_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = tmp_path / "services"
    services.mkdir()
    with RecordingServer() as target, running(services, target.url) as pacifica:
        environment = {
            "PACIFICA_CART_URL": pacifica.cart,
            "PACIFICA_INGEST_URL": pacifica.ingest,
            "PACIFICA_POLICY_URL": pacifica.policy,
            "PACIFICA_USER": "dmlb2001",
            "PACIFICA_POLL": "0.1",
            "PACIFICA_TRANSFER_TIMEOUT": str(EVENTUALLY),
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        for path, content in FILES.items():
            file = tmp_path / "uploads" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        attributes = {
            "Transactions.submitter": USER,
            "Transactions.project": PROJECT,
            "Transactions.instrument": INSTRUMENT,
        }

        fulfilled = upload(tmp_path, attributes, {"Tag": "Namé"}).get()
        event = ingested(target, 1)[-1]
        assert fulfilled["source"] == event["source"]
        assert fulfilled["eventID"] == event["eventID"]
        assert same(fulfilled) == same(event)

        src, dst = tmp_path / "src", tmp_path / "dst"
        for folder in (src, dst):
            folder.mkdir()
        (src / "notification.json").write_text(json.dumps(event))
        assert download(src).get() == event
        assert files_in(src / "downloads") == FILES
        shutil.rmtree(src / "downloads")

        variables = {**environment, "PYTHONPATH": str(installed(tmp_path / "installed"))}
        command = [sys.executable, EXAMPLE / "__main__.py", src, dst]
        with Program(command, variables, tmp_path) as program:
            assert program.wait(EVENTUALLY) == 0, program.output
        created = ingested(target, 2)[-1]
        assert program.lines == [f"created {created['source']}"]
        assert not src.exists()

        src.mkdir()
        (src / "notification.json").write_text(json.dumps(created))
        download(src).get()
        assert files_in(src / "downloads") == {
            "a/b/foo.txt": "STRASSE É\n".encode(),
            "data/パソ.txt": b"BAR",
        }
