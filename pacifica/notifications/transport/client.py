"""The public interface of the transport, and the thread behind it."""

import logging
import os
import socket
import threading
import time
from concurrent.futures import Future
from typing import Self

import certifi

from pacifica.notifications.subscriptions.networks import NO_RULES, Rules
from pacifica.notifications.transport.dns import Resolution
from pacifica.notifications.transport.engine import Engine
from pacifica.notifications.transport.messages import (
    MAX_URL_LENGTH,
    Limits,
    PendingRequest,
    Request,
    SendFailure,
    SendResult,
    TransportBusy,
    TransportClosed,
    address_of,
)
from pacifica.notifications.transport.transfer import BAD_URL

_LOG = logging.getLogger(__name__)
_DEFAULTS = Limits()

# Seconds: the longest sleep when idle, and the time for the cleanup at the end.
_MAX_SLEEP = 60.0
_CLEANUP = 2.0

_CLOSED = "transport closed"
_FAILED = "transport failed"


class Transport:
    """Sends requests from any thread; open until `close` or the end of its `with` block.

    Its thread starts with the first request. A forked process gets its own thread and connections.
    Futures from before the fork stay with the parent. `ca_file` names a PEM file, or a folder, of
    certificates to trust in place of certifi's. `rules` must permit each address that a connection
    is opened to.
    """

    def __init__(
        self, limits: Limits = _DEFAULTS, ca_file: str = "", rules: Rules = NO_RULES
    ) -> None:
        self._limits = limits
        self._rules = rules
        self._ca_file = ca_file or certifi.where()
        self._closed = False
        self._threads: dict[int, TransportThread] = {}

    def submit(self, request: Request) -> Future[SendResult]:
        """Queue a request without waiting, and return the future of its result.

        The future never raises. It can be cancelled until the transfer starts. Its callbacks run
        in the transport's thread and delay all transfers, so they must be quick. Raises
        TransportBusy when the queue is full, TransportClosed after `close`.
        """
        if self._closed:
            raise TransportClosed("the transport is closed")
        future: Future[SendResult] = Future()
        address = address_of(request.url) if len(request.url) <= MAX_URL_LENGTH else None
        if address is None:
            future.set_result(SendFailure(BAD_URL, 0.0))
        elif (broken := self._rules.refusal_of_scheme(address.scheme)) is not None:
            future.set_result(SendFailure(broken, 0.0, refused=True))
        else:
            self._thread().submit(PendingRequest(request, address, future))
        return future

    def close(self, grace: float = 0.0) -> None:
        """Let queued requests go on for `grace` seconds; then fail the rest."""
        self._closed = True
        thread = self._threads.get(os.getpid())
        if thread is not None:
            thread.close(grace)

    def __enter__(self) -> Self:
        """Return this transport."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close without a grace period."""
        self.close()

    def _thread(self) -> "TransportThread":
        # Another thread could hold a lock during a fork, and the child would wait for it for ever;
        # `setdefault` needs no lock. The child keeps a reference to the parent's thread object:
        # closing it would shut down TLS connections that the parent still uses.
        pid = os.getpid()
        return self._threads.get(pid) or self._threads.setdefault(
            pid, TransportThread(self._limits, self._rules, self._ca_file)
        )


class TransportThread:
    """The one thread of a process that sends the requests of other threads."""

    def __init__(self, limits: Limits, rules: Rules, ca_file: str) -> None:
        self._limits = limits
        self._rules = rules
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._submitted: list[PendingRequest] = []
        self._resolutions: list[Resolution] = []
        self._waiting = 0  # requests that are submitted, being looked up, or in the queue
        self._full = False
        self._closes_at: float | None = None
        self._thread: threading.Thread | None = None
        self._wakeup: socket.socket | None = None
        self._woken = False

    def submit(self, pending: PendingRequest) -> None:
        """Accept a request, and start the thread if it is not running."""
        with self._lock:
            if self._closes_at is not None:
                raise TransportClosed("the transport is closed")
            if self._waiting >= self._limits.queue:
                self._full = True
                self._wake()
                raise TransportBusy(f"{self._waiting} requests are waiting already")
            if self._thread is None:
                self._start()
            self._waiting += 1
            self._submitted.append(pending)
            self._wake()

    def report(self, resolution: Resolution) -> None:
        """Accept the result of a lookup."""
        with self._lock:
            self._resolutions.append(resolution)
            self._wake()

    def close(self, grace: float) -> None:
        """End the thread when all requests are done, or after `grace` seconds."""
        with self._lock:
            self._closes_at = time.monotonic() + grace
            self._wake()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(grace + _CLEANUP)
            if thread.is_alive():
                _LOG.error("the transport's thread has not ended %g s after its grace", _CLEANUP)

    def _start(self) -> None:
        # Not a pipe, because Windows can only wait for sockets.
        writer, reader = socket.socketpair()
        writer.setblocking(False)
        reader.setblocking(False)
        engine = Engine(self._limits, self._rules, self._ca_file, reader, self.report)
        thread = threading.Thread(
            target=self._run, args=(engine, writer, reader), name="transport", daemon=True
        )
        thread.start()
        self._thread, self._wakeup, self._woken = thread, writer, False

    def _wake(self) -> None:
        # One byte until the thread has woken up: more would only cost system calls.
        if self._wakeup is not None and not self._woken:
            self._woken = True
            self._wakeup.send(b"\0")

    def _run(self, engine: Engine, writer: socket.socket, reader: socket.socket) -> None:
        failure = SendFailure(_CLOSED, 0.0, ours=True)
        try:
            self._serve(engine, reader)
        except Exception:  # noqa: BLE001 - the edge of this thread: no caller may wait forever
            _LOG.exception("the transport's thread failed; the next request starts another")
            failure = SendFailure(_FAILED, 0.0, ours=True)
        finally:
            # First, so that the next request of a caller whose request fails starts a new thread.
            with self._lock:
                submitted, self._submitted = self._submitted, []
                self._waiting, self._thread, self._wakeup = 0, None, None
            writer.close()
            reader.close()
            engine.close(submitted, failure)

    def _serve(self, engine: Engine, reader: socket.socket) -> None:
        timeout = 0.0
        while timeout >= 0:
            engine.wait(timeout)
            with self._lock:
                if self._woken:
                    self._woken = False
                    reader.recv(1)
                submitted, self._submitted = self._submitted, []
                resolutions, self._resolutions = self._resolutions, []
                full, self._full = self._full, False
                closes_at = self._closes_at
            engine.add(submitted, resolutions, drop_cancelled=full)
            engine.advance()
            with self._lock:
                self._waiting = engine.waiting + len(self._submitted)
            timeout = _MAX_SLEEP
            if closes_at is not None:
                timeout = -1 if engine.is_idle else closes_at - time.monotonic()
