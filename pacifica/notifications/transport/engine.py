"""The event loop that runs libcurl's transfers, with their sockets and timers."""

import selectors
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pycurl

from pacifica.notifications.subscriptions.networks import Rules
from pacifica.notifications.transport.dns import DnsCache, Resolution
from pacifica.notifications.transport.fairqueue import FairQueue
from pacifica.notifications.transport.messages import Limits, PendingRequest, SendFailure
from pacifica.notifications.transport.transfer import BAD_URL, SILENT, Transfer

if sys.platform != "win32":
    import resource

# How often all transfers are checked within one read time-out.
_CHECKS = 10


class Engine:
    """Drives libcurl's multi interface in one thread."""

    def __init__(
        self,
        limits: Limits,
        rules: Rules,
        ca_file: str,
        wakeup: socket.socket,
        report: Callable[[Resolution], None],
    ) -> None:
        self._limits = limits = _affordable(limits)
        self._rules = rules
        self._ca_file = ca_file
        self._dns = DnsCache(limits, rules, report)
        self._queue = FairQueue(limits)
        self._transfers: dict[pycurl.Curl, Transfer] = {}
        self._spare: list[Transfer] = []
        self._timer: float | None = None  # when libcurl wants to be called
        self._next_check = 0.0
        self._wakeup = wakeup.fileno()
        self._watched = {self._wakeup}
        self._selector = selectors.DefaultSelector()
        self._selector.register(wakeup, selectors.EVENT_READ)
        self._multi = pycurl.CurlMulti()
        # The second option closes idle connections when transfers need their sockets.
        self._multi.setopt(pycurl.M_MAXCONNECTS, limits.connections)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, limits.connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    @property
    def waiting(self) -> int:
        """The number of requests that have not started."""
        return self._dns.waiting + self._queue.waiting

    @property
    def is_idle(self) -> bool:
        """Whether no request is waiting or running."""
        return not self.waiting and not self._queue.running

    def add(
        self,
        submitted: list[PendingRequest],
        resolutions: list[Resolution],
        *,
        drop_cancelled: bool,
    ) -> None:
        """Queue requests, or let them wait for the addresses of their hosts."""
        if drop_cancelled:
            self._queue.drop_cancelled()
            self._dns.drop_cancelled()
        for resolution in resolutions:
            for pending in self._dns.learn(resolution):
                if resolution.addresses:
                    self._queue.add(pending)
                elif resolution.refusal is not None:
                    pending.fail(SendFailure(resolution.refusal, 0.0, refused=True))
                else:
                    pending.fail(SendFailure("host not found", 0.0))
        for pending in submitted:
            if self._dns.is_known(pending):
                self._queue.add(pending)
            else:
                self._dns.add(pending)

    def advance(self) -> None:
        """Start the transfers that may start; settle those that ended or timed out."""
        self._start()
        now = time.monotonic()
        for pending in self._dns.pop_expired(now):
            seconds = self._dns.timeout(pending)
            pending.fail(SendFailure(f"host not found within {seconds:g} s", seconds))
        if self._timer is not None and self._timer <= now:
            self._timer = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if self._next_check <= now:
            self._next_check = now + self._limits.read_timeout / _CHECKS
            self._end_silent(now)
        if self._settle():
            self._start()

    def wait(self, timeout: float) -> None:
        """Wait for the wakeup socket or libcurl's sockets and timers; notify libcurl."""
        check = self._next_check if self._transfers else None
        for moment in (self._timer, self._dns.next_deadline, check):
            if moment is not None:
                timeout = min(timeout, moment - time.monotonic())
        # The bits of `selectors` and libcurl agree: 1 is reading, 2 is writing.
        for key, events in self._selector.select(max(timeout, 0.0)):
            if key.fd != self._wakeup:
                self._multi.socket_action(key.fd, events)

    def close(self, submitted: list[PendingRequest], failure: SendFailure) -> None:
        """Settle all remaining requests with `failure`, then close every connection."""
        for pending in (*self._dns.pending(), *self._queue.pending(), *submitted):
            pending.fail(failure)
        for pending in self._queue.running:
            pending.future.set_result(failure)
        self._multi.close()
        for transfer in (*self._transfers.values(), *self._spare):
            transfer.curl.close()
        self._selector.close()

    def _start(self) -> None:
        while (pending := self._queue.start()) is not None:
            transfer = self._spare.pop() if self._spare else self._new_transfer()
            try:
                transfer.begin(pending, self._dns.addresses(pending.address))
                self._multi.add_handle(transfer.curl)
            except pycurl.error:
                transfer.curl.close()
                unusable = SendFailure(BAD_URL, 0.0)
                self._queue.end(pending, unusable)
                pending.future.set_result(unusable)
            else:
                self._transfers[transfer.curl] = transfer

    def _new_transfer(self) -> Transfer:
        return Transfer(self._limits, self._rules, self._ca_file)

    def _settle(self) -> bool:
        ended: list[tuple[pycurl.Curl, int]] = []
        more = 1
        while more:
            more, done, failed = self._multi.info_read()
            ended += [(curl, pycurl.E_OK) for curl in done]
            ended += [(curl, code) for curl, code, _ in failed]
        for curl, code in ended:
            self._end(curl, code)
        return bool(ended)

    def _end_silent(self, now: float) -> None:
        silent = [curl for curl, transfer in self._transfers.items() if transfer.is_silent(now)]
        for curl in silent:
            self._end(curl, SILENT)
        if silent:
            self._start()

    def _end(self, curl: pycurl.Curl, code: int) -> None:
        self._multi.remove_handle(curl)
        pending, result = self._transfers[curl].end(code)
        self._spare.append(self._transfers.pop(curl))
        self._queue.end(pending, result)
        pending.future.set_result(result)

    def _watch(self, events: int, fd: int, _multi: object, _mark: object) -> None:
        if events == pycurl.POLL_REMOVE:
            if fd in self._watched:
                self._watched.remove(fd)
                self._selector.unregister(fd)
        elif fd in self._watched:
            self._selector.modify(fd, events)
        else:
            self._selector.register(fd, events)
            self._watched.add(fd)

    def _set_timer(self, milliseconds: int) -> None:
        self._timer = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def raise_file_limit(connections: int) -> None:
    """Raise the limit of open files to twice this number of connections.

    The other half is for other work of the process. Above the hard limit, fewer connections are
    used.
    """
    if sys.platform == "win32":  # which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _affordable(limits: Limits) -> Limits:
    """Limit connections to half of the files that the process may have open.

    The other half is for other uses, such as the database.
    """
    if sys.platform == "win32":
        return limits
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return limits
    return replace(limits, connections=min(limits.connections, files // 2))
