"""What systemd is told, and when."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from uuid import uuid4

import pytest

from pacifica.notifications.broker.liveness import Liveness
from pacifica.notifications.systemd import Watchdog, notify
from tests.support.notified import NotifySocket

#: Seconds for which nothing must come; several times what lies between two messages.
SILENCE = 0.3


@pytest.fixture
def systemd(monkeypatch: pytest.MonkeyPatch) -> Iterator[NotifySocket]:
    with NotifySocket(watchdog=0.02) as listening:
        for name, value in listening.environment.items():
            monkeypatch.setenv(name, value)
        yield listening


def test_notify_sends_one_message(systemd: NotifySocket) -> None:
    notify("READY=1")
    assert systemd.next() == "READY=1"


def test_notify_reaches_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"pacifica-{uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        listening.settimeout(5)
        assert listening.recv(100) == b"READY=1"


def test_notify_does_nothing_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/socket")
    notify("READY=1")


def test_notify_does_not_wait_for_a_systemd_that_does_not_read(
    systemd: NotifySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacifica.notifications.systemd._TIMEOUT", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling:
        filling.connect(systemd.environment["NOTIFY_SOCKET"])
        filling.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                filling.send(b"before")
    notify("READY=1")
    assert systemd.next() == "before"


def test_watchdog_is_fed_at_half_of_its_time(
    systemd: NotifySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("pacifica.notifications.systemd.time", clock)
    monkeypatch.setenv("WATCHDOG_USEC", "20000000")
    watchdog = Watchdog()
    watchdog.feed()
    assert systemd.next() == "WATCHDOG=1"
    now += 9.9
    watchdog.feed()
    notify("nothing else")
    assert systemd.next() == "nothing else"
    now += 0.1
    watchdog.feed()
    assert systemd.next() == "WATCHDOG=1"


@pytest.mark.parametrize(
    "told",
    [{}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getppid())}],
)
def test_watchdog_is_not_fed_when_it_watches_no_or_another_process(
    told: dict[str, str], systemd: NotifySocket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC")
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    Watchdog().feed()
    notify("nothing else")
    assert systemd.next() == "nothing else"
    assert not Liveness(SimpleNamespace(steps=[])).include_if(None)


class StuckLoop:
    """The timer of an event loop that does not run; `entries` are what it should call."""

    def __init__(self) -> None:
        self.entries: list[Callable[[], None]] = []

    def call_repeatedly(self, _seconds: float, function: Callable[[], None]) -> SimpleNamespace:
        self.entries.append(function)
        return SimpleNamespace(cancel=lambda: self.entries.remove(function))


def test_worker_feeds_by_its_loop_alone_while_it_has_a_connection(systemd: NotifySocket) -> None:
    loop = StuckLoop()
    worker = SimpleNamespace(timer=loop, steps=[])
    liveness = Liveness(worker)
    assert liveness.include_if(worker)
    liveness.start(worker)
    with pytest.raises(TimeoutError):
        systemd.next(SILENCE)
    (feed,) = loop.entries
    feed()
    assert systemd.next() == "WATCHDOG=1"
    liveness.stop(worker)  # the connection is lost
    assert loop.entries == []
    assert {systemd.next() for _ in range(3)} == {"WATCHDOG=1"}
    liveness.start(worker)  # there is one again, and the thread is silent from now on
    assert len(loop.entries) == 1
