"""The transports and servers that the tests of this folder share."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pacifica.notifications.transport import Limits, Transport
from tests.support.servers import RecordingServer
from tests.support.transports import SHORT, TIMEOUT, addresses


@pytest.fixture
def transport() -> Iterator[Transport]:
    with Transport(Limits(connect_timeout=2.0, total_timeout=TIMEOUT)) as transport:
        yield transport


@pytest.fixture
def short() -> Iterator[Transport]:
    with Transport(SHORT) as transport:
        yield transport


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Have names under `slow.test` looked up until the test is over, all others found."""
    asked: list[str] = []
    over = threading.Event()

    def getaddrinfo(name: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(name)
        if name.endswith("slow.test"):
            over.wait(TIMEOUT)
        return addresses("127.0.0.1")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    over.set()
    for thread in threading.enumerate():
        if thread.name == "lookup":
            thread.join(TIMEOUT)


@pytest.fixture
def newcomer() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server
