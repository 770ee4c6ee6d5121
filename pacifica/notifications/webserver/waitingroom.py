"""Where connections wait whose request has not arrived, or whose answer is not read."""

import errno
import logging
import selectors
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from cheroot import connections

from pacifica.notifications.webserver.arrival import Progress
from pacifica.notifications.webserver.connection import Connection
from pacifica.notifications.webserver.places import Bounds, Places, Stage

_CHEROOT: Any = connections  # its type stubs leave out what is used here
# More would keep those waiting who are in already.
_ACCEPTED_AT_ONCE = 64
_FULL_PAUSE = 0.05
_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_WINDOWS_PAUSE = 0.05  # select() does not see there what other threads add
_UNANSWERED = (Stage.HEAD, Stage.BODY, Stage.LARGE)


class WaitingRoom(_CHEROOT.ConnectionManager):
    """Reads requests of all clients by one thread, and hands them to the others as they are there.

    It takes the place of CherryPy's own, which hands over who has sent a byte. `put` and what
    threads call is safe in any thread; all else belongs to the thread in `run`.
    """

    def __init__(self, server: Any, bounds: Bounds) -> None:
        super().__init__(server)
        server.socket.settimeout(0)
        self._lock = threading.RLock()
        self._places: Places[Connection] = Places(bounds)
        self._bounds = bounds
        self._queued = 0  # bytes of requests that wait for a thread
        self._large_left = max(server.requests.min // 2, 1)
        self._is_listening = True
        self._ends: float | None = None
        self._is_over = threading.Event()

    @property
    def can_add_keepalive_connection(self) -> bool:
        """Whether a client that is answered may stay."""
        return self._ends is None and len(self._places) < self._bounds.connections

    def put(self, conn: Connection) -> bool:
        """Take in a client that was answered; False where nobody waits here any more."""
        with self._lock:
            if self._is_over.is_set():
                return False
            if conn.wfile.unsent:
                self._enter(conn, Stage.SENDING)
            elif not conn.keeps:
                self._see_off(conn)
            else:
                conn.expect_request()
                self._wait_for(conn, conn.progress())
            return True

    def taken(self, conn: Connection) -> None:
        """Note that a thread has a client, whose request is no more in our keeping."""
        with self._lock:
            self._queued -= conn.queued
            conn.queued = 0

    def end_large(self, conn: Connection) -> None:
        """Note that a thread is done with a large body; the next one may have it."""
        with self._lock:
            self._large_left += 1
            conn.is_large = False
            for following in self._places.of(Stage.LARGE)[:1]:
                self._wait_for(following, Progress.LARGE)

    def stop(self) -> None:
        """Let nobody in any more; who is here gets until the shutdown time-out to be answered."""
        self._ends = time.monotonic() + self.server.shutdown_timeout
        self._stop_requested = True
        if self._serving:
            self._is_over.wait(self.server.shutdown_timeout + 1)
        self._is_over.set()

    def close(self) -> None:
        """Hang up on all who are left."""
        with self._lock:
            for conn in self._places.of(*Stage):
                self._forget(conn)
            self._selector.close()

    def _run(self, expiration_interval: float) -> None:
        while not self._is_over.is_set():
            self._open_or_close_door()
            if self._is_too_much_queued():
                self._is_over.wait(_FULL_PAUSE)
            else:
                self._see_to_news(expiration_interval)
            with self._lock:
                for conn in self._places.late():
                    self._end(conn)
                while (surplus := self._places.surplus()) is not None:
                    self._forget(surplus)
                if self._ends is not None and self._is_nobody_left(self._ends):
                    self._is_over.set()

    def _see_to_news(self, longest: float) -> None:
        pause = longest if self._is_listening else _FULL_PAUSE
        if sys.platform == "win32":
            pause = min(pause, _WINDOWS_PAUSE)
        for _, conn in list(self._selector.select(timeout=pause)):
            if conn is self.server:
                self._let_in()
            else:
                self._attend_safely(conn)
            if self._is_too_much_queued():
                break

    def _is_too_much_queued(self) -> bool:
        return (
            self._queued > self._bounds.held
            or self.server.requests.qsize >= self._bounds.connections
        )

    def _open_or_close_door(self) -> None:
        """Leave clients where they are, in the system's queue, while too many are in ours."""
        if self._ends is not None:
            self._close_door()
            return
        opens = not self._is_too_much_queued()
        if opens and not self._is_listening:
            self._selector.register(
                self.server.socket.fileno(), selectors.EVENT_READ, data=self.server
            )
        elif not opens and self._is_listening:
            self._selector.unregister(self.server.socket.fileno())
        self._is_listening = opens

    def _close_door(self) -> None:
        if self.server.socket.fileno() < 0:
            return
        if self._is_listening:
            self._is_listening = False
            self._selector.unregister(self.server.socket.fileno())
        while self._let_in():
            pass
        self.server.socket.close()
        for conn in self._places.of(Stage.IDLE):
            self._attend_safely(conn)  # a request that is there is answered

    def _let_in(self) -> bool:
        """Accept who has connected; True where there may be more."""
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                conn = self._from_server_socket(self.server.socket)
            except OSError as error:
                if error.errno not in _NO_MORE_FILES:
                    raise
                with self._lock:
                    longest = self._places.longest_waiting()
                    if longest is not None:
                        self._forget(longest)
                    return longest is not None
            if conn is None:
                return False
            with self._lock:
                self._wait_for(conn, conn.gather())
        return True

    def _attend_safely(self, conn: Connection) -> None:
        with self._lock:
            try:
                self._attend(conn)
            except Exception as error:  # noqa: BLE001 one client must not end all others
                self.server.error_log(repr(error), logging.ERROR, traceback=True)
                self._forget(conn)

    def _attend(self, conn: Connection) -> None:
        """See to a client of whom there is news."""
        match self._places.stage_of(conn):
            case None:
                pass  # hung up on since there was news of it
            case Stage.SENDING:
                with suppress(OSError):
                    if conn.wfile.send():
                        self._leave(conn)
                        self.put(conn)
                    else:
                        self._enter(conn, Stage.SENDING)
                    return
                self._forget(conn)
            case Stage.LEAVING:
                arrived = conn.rfile.gather()
                conn.rfile.received.clear()
                if arrived is None:
                    self._forget(conn)
            case _:
                self._wait_for(conn, conn.gather())

    def _wait_for(self, conn: Connection, progress: Progress | None) -> None:
        """Hand over a client whose request is there, and have any other one wait for it."""
        match progress:
            case None:
                self._forget(conn)
            case Progress.HEAD if conn.rfile.received or conn.is_new:
                self._enter(conn, Stage.HEAD)
            case Progress.HEAD if self._ends is None:
                self._enter(conn, Stage.IDLE)
            case Progress.HEAD:
                self._forget(conn)
            case Progress.BODY:
                self._enter(conn, Stage.BODY)
            case Progress.LARGE if not self._large_left:
                self._enter(conn, Stage.LARGE)
            case _:
                conn.is_large = progress is Progress.LARGE
                self._large_left -= conn.is_large
                self._hand_over(conn)

    def _hand_over(self, conn: Connection) -> None:
        self._leave(conn)
        conn.queued = len(conn.rfile.received)
        self._queued += conn.queued
        self.server.process_conn(conn)

    def _enter(self, conn: Connection, stage: Stage) -> None:
        former = self._places.stage_of(conn)
        self._places.enter(conn, stage, len(conn.rfile.received) + conn.wfile.unsent)
        before, after = _watched(former), _watched(stage)
        if before != after:
            if before:
                self._selector.unregister(conn.socket.fileno())
            if after:
                self._selector.register(conn.socket.fileno(), after, data=conn)

    def _leave(self, conn: Connection) -> None:
        if _watched(self._places.stage_of(conn)):
            self._selector.unregister(conn.socket.fileno())
        self._places.leave(conn)

    def _see_off(self, conn: Connection) -> None:
        """End our side and wait for the client's: to close at once could take its answer away."""
        conn.rfile.received.clear()
        try:
            conn.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._forget(conn)
        else:
            self._enter(conn, Stage.LEAVING)

    def _forget(self, conn: Connection) -> None:
        self._leave(conn)
        conn.close()

    def _end(self, conn: Connection) -> None:
        """Hang up on who took too long, and tell the client where it has asked for something."""
        is_told = self._places.stage_of(conn) in _UNANSWERED and conn.rfile.has_data()
        self._leave(conn)
        if is_told:
            with suppress(OSError):
                conn.refuse("408 Request Timeout", "the request did not arrive in time")
                if not conn.wfile.unsent:
                    self._see_off(conn)
                    return
        conn.close()

    def _is_nobody_left(self, ends: float) -> bool:
        staying = len(self._places) - len(self._places.of(Stage.LEAVING))
        return not staying or time.monotonic() > ends


def _watched(stage: Stage | None) -> int:
    """Return what is to be seen of a client in a stage, as selectors have it."""
    if stage is None or stage is Stage.LARGE:
        return 0
    return selectors.EVENT_WRITE if stage is Stage.SENDING else selectors.EVENT_READ
