"""Where the threads of a process hand over requests to the one thread that sends them."""

import logging
import socket
import threading
import time

from pacifica.notifications.subscriptions.networks import Rules
from pacifica.notifications.transport.engine import Engine
from pacifica.notifications.transport.exchange import (
    Limits,
    SendFailure,
    TransportBusy,
    TransportClosed,
)
from pacifica.notifications.transport.lookup import Found
from pacifica.notifications.transport.parcels import Parcel

_LOG = logging.getLogger(__name__)

# Seconds: the longest sleep with nothing to do, and the most that letting go may take at the end.
_NAP = 60.0
_CLEANUP = 2.0

_CLOSED = "transport closed"
_FAILED = "transport failed"


class Desk:
    """Where other threads hand parcels to the one thread that sends, in one process."""

    def __init__(self, limits: Limits, rules: Rules, ca_file: str) -> None:
        self._limits = limits
        self._rules = rules
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._inbox: list[Parcel] = []
        self._found: list[Found] = []
        self._waiting = 0  # in the inbox, for a name or for their turn
        self._full = False
        self._closes_at: float | None = None
        self._thread: threading.Thread | None = None
        self._bell: socket.socket | None = None
        self._rung = False

    def accept(self, parcel: Parcel) -> None:
        """Take a parcel for the thread, starting it if there is none."""
        with self._lock:
            if self._closes_at is not None:
                raise TransportClosed("the transport is closed")
            if self._waiting >= self._limits.queue:
                self._full = True
                self._ring()
                raise TransportBusy(f"{self._waiting} requests are waiting already")
            if self._thread is None:
                self._start()
            self._waiting += 1
            self._inbox.append(parcel)
            self._ring()

    def report(self, found: Found) -> None:
        """Take what a lookup came to."""
        with self._lock:
            self._found.append(found)
            self._ring()

    def close(self, grace: float) -> None:
        """Let the thread end what is under way for `grace` seconds, and end it."""
        with self._lock:
            self._closes_at = time.monotonic() + grace
            self._ring()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(grace + _CLEANUP)
            if thread.is_alive():
                _LOG.error("the transport's thread has not ended %g s after its grace", _CLEANUP)

    def _start(self) -> None:
        bell, ear = socket.socketpair()
        bell.setblocking(False)
        ear.setblocking(False)
        engine = Engine(self._limits, self._rules, self._ca_file, ear, self.report)
        thread = threading.Thread(
            target=self._run, args=(engine, bell, ear), name="transport", daemon=True
        )
        thread.start()
        self._thread, self._bell, self._rung = thread, bell, False

    def _ring(self) -> None:
        # One byte until the thread has looked: more would only cost system calls.
        if self._bell is not None and not self._rung:
            self._rung = True
            self._bell.send(b"\0")

    def _run(self, engine: Engine, bell: socket.socket, ear: socket.socket) -> None:
        ended = SendFailure(_CLOSED, 0.0, ours=True)
        try:
            self._serve(engine, ear)
        except Exception:  # noqa: BLE001 - the edge of this thread: nobody may be left waiting for it
            _LOG.exception("the transport's thread failed; the next request starts another")
            ended = SendFailure(_FAILED, 0.0, ours=True)
        finally:
            # Before anybody hears of the end, so that their next request starts a new thread.
            with self._lock:
                inbox, self._inbox = self._inbox, []
                self._waiting, self._thread, self._bell = 0, None, None
            bell.close()
            ear.close()
            engine.end(inbox, ended)

    def _serve(self, engine: Engine, ear: socket.socket) -> None:
        patience = 0.0
        while patience >= 0:
            engine.wait(patience)
            with self._lock:
                if self._rung:
                    self._rung = False
                    ear.recv(1)
                inbox, self._inbox = self._inbox, []
                found, self._found = self._found, []
                full, self._full = self._full, False
                closes_at = self._closes_at
            engine.admit(inbox, found, sweep=full)
            engine.advance()
            with self._lock:
                self._waiting = engine.waiting + len(self._inbox)
            patience = _NAP
            if closes_at is not None:
                patience = -1 if engine.idle else closes_at - time.monotonic()
