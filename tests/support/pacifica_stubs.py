"""Cart, Ingest and Policy of Pacifica, as far as a transfer sees them, over real HTTP."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.servers import AnswerTriple, Received, RecordingServer

JSON = {"Content-Type": "application/json"}
#: What Ingest goes through, in its own words.
TASKS = ("UPLOADING", "open tar", "load metadata", "Policy Validation", "ingest files")
TRANSACTION = 1042


def files_record(number: int, path: str, content: bytes, **changes: Any) -> dict[str, Any]:
    """Return the record of a file in an event."""
    subdir, _, name = path.rpartition("/")
    return {
        "destinationTable": "Files",
        "_id": number,
        "name": name,
        "subdir": subdir,
        "size": len(content),
        "mimetype": "text/plain",
        "hashtype": "sha1",
        "hashsum": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
        **changes,
    }


def event_of(*records: dict[str, Any]) -> dict[str, Any]:
    """Return the event of a transaction with these records."""
    return {
        "cloudEventsVersion": "0.1",
        "eventType": "org.pacifica.metadata.ingest",
        "source": "http://metadata.pacifica.org/transactions?_id=2001",
        "eventID": "metadata.ingest.2001",
        "eventTime": "2026-01-31T12:00:00",
        "extensions": {},
        "contentType": "application/json",
        "data": [
            {"destinationTable": "Transactions._id", "value": 2001},
            {"destinationTable": "Transactions.submitter", "value": 10},
            {"destinationTable": "Transactions.project", "value": "1236é"},
            {"destinationTable": "Transactions.instrument", "value": 54},
            *records,
        ],
    }


Member = tuple[tarfile.TarInfo, bytes]


def file_member(name: str, content: bytes) -> Member:
    """Return a file for `tar_of`."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def folder_member(name: str) -> Member:
    """Return a folder for `tar_of`."""
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    return member, b""


def link_member(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Member:
    """Return a link for `tar_of`."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def tar_of(members: Iterable[Member]) -> bytes:
    """Return a tar of members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def cart_tar(files: Mapping[str, bytes], root: str = "data") -> bytes:
    """Return the tar of a cart with these files, their folders before them as Cart has them."""
    folders = {path.rpartition("/")[0] for path in files} - {""}
    parents = {
        "/".join(folder.split("/")[:depth])
        for folder in folders
        for depth in range(1, 1 + len(folder.split("/")))
    }
    return tar_of(
        [
            folder_member(root),
            *(folder_member(f"{root}/{each}") for each in sorted(parents)),
            *(file_member(f"{root}/{path}", content) for path, content in files.items()),
        ]
    )


@dataclass
class Cart:
    """One cart: `status` and `message` are what a look at it says once `looks` have passed."""

    tar: bytes = b""
    looks: int = 0
    status: str = "ready"
    message: str = ""
    wanted: list[dict[str, Any]] = field(default_factory=list)
    is_deleted: bool = False

    def __call__(self, received: Received) -> AnswerTriple:
        if received.method == "POST":
            self.wanted = json.loads(received.body)["fileids"]
            return 201, JSON, b'{"message": "Cart Processing has begun"}'
        if received.method == "HEAD":
            self.looks -= 1
            status = "staging" if self.looks >= 0 else self.status
            said = {"X-Pacifica-Status": status, "X-Pacifica-Message": self.message}
            return (500 if status == "error" else 204), said, b""
        if received.method == "DELETE":
            self.is_deleted = True
            return 200, JSON, b'{"message": "Cart Deleted Successfully"}'
        return 200, {"Content-Type": "application/octet-stream"}, self.tar


@dataclass
class Ingest:
    """Ingest with one job; it fails where `failure` says so, and where a bundle is wrong."""

    failure: str = ""
    tasks: list[str] = field(default_factory=lambda: list(TASKS))
    metadata: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def __call__(self, received: Received) -> AnswerTriple:
        if received.method == "POST":
            assert received.path == "/upload"
            self._take(received.body)
            return self._state("OK", self.tasks.pop(0))
        assert received.path == f"/get_state?job_id={TRANSACTION}"
        if self.tasks:
            return self._state("OK", self.tasks.pop(0))
        if self.failure:
            return self._state("FAILED", "ingest files")
        return self._state("OK", "ingest metadata")

    def _state(self, state: str, task: str) -> AnswerTriple:
        is_complete = state == "FAILED" or task == "ingest metadata"
        document = {
            "job_id": TRANSACTION,
            "state": state,
            "task": task,
            "task_percent": "100" if is_complete else "0",
            "complete": is_complete,
            "updated": "2026-01-31 12:00:00",
            "created": "2026-01-31 12:00:00",
            "exception": self.failure if state == "FAILED" else "",
        }
        return 200, JSON, json.dumps(document).encode()

    def _take(self, body: bytes) -> None:
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as tar:
            self.metadata = json.loads(_content(tar, "metadata.txt"))
            for record in self.metadata:
                if record["destinationTable"] != "Files":
                    continue
                path = without_root(f"{record['subdir']}/{record['name']}")
                content = _content(tar, f"data/{path}")
                digest = hashlib.new(record["hashtype"], content).hexdigest()
                if (digest, len(content)) != (record["hashsum"], record["size"]):
                    self.failure = f"{path} failed to validate"
                self.files[path] = content


def without_root(path: str) -> str:
    """Return a path as Ingest has it: without a first folder `data`, and what is empty."""
    parts = path.split("/")
    return "/".join(part for part in parts[parts[0] == "data" :] if part)


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    assert content is not None, name
    return content.read()


@contextmanager
def pacifica(
    cart: Cart | None = None, ingest: Ingest | None = None, policy: AnswerTriple | None = None
) -> Iterator[dict[str, str]]:
    """Run the services for the block; gives what the environment of a transfer says of them."""
    permitted = policy or (200, JSON, b'{"status": "success"}')
    with (
        RecordingServer(cart or Cart()) as carts,
        RecordingServer(ingest or Ingest()) as ingests,
        RecordingServer(lambda _: permitted) as policies,
    ):
        yield {
            "PACIFICA_CART_URL": carts.url,
            "PACIFICA_INGEST_URL": ingests.url,
            "PACIFICA_POLICY_URL": policies.url,
            "PACIFICA_USER": "dmlb2001",
            "PACIFICA_POLL": "0.01",
            "PACIFICA_TRANSFER_TIMEOUT": "5",
            "PACIFICA_CONNECT_TIMEOUT": "2",
            "PACIFICA_READ_TIMEOUT": "2",
        }
