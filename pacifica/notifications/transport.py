"""Send HTTP requests to many servers at once, each with a future for what came of it.

One thread for each process and `Transport` drives libcurl's multi interface. Two things that
libcurl offers are done here, so that a bad host harms no other one:

- Waiting for a host's turn. Libcurl's time-out counts the waiting: a request behind a hanging host
  would fail untried. What libcurl gets from here starts at once.
- Looking up names. Libcurl keeps a few threads for it that it cannot interrupt, and asks again for
  each connection: one name whose servers do not answer soon holds them all, and the cleanup too.
"""

import functools
import logging
import os
import re
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Self, TypeAlias
from urllib.parse import urlsplit

import certifi
import pycurl

from pacifica.notifications.errors import NotificationsError

_LOG = logging.getLogger(__name__)


class TransportBusy(NotificationsError):
    """As many requests are waiting for their turn as `Limits.queue` allows; later may work."""


class TransportClosed(NotificationsError):
    """The transport takes no more requests."""


@dataclass(frozen=True)
class Request:
    """One request that can be sent as it stands; its credentials stay out of its `repr`.

    Raise ValueError for a method other than GET and POST, a GET with a body, and for anything in
    the URL or a header that would let its value write further headers (RFC 9110, section 5.5).
    User and password in the URL are not sent.
    """

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Refuse what could not be sent as it stands."""
        if self.method not in ("GET", "POST"):
            raise ValueError(f"method {self.method!r} is neither GET nor POST")
        if self.method == "GET" and self.body:
            raise ValueError("a GET has no body")
        if not _PRINTABLE.fullmatch(self.url):
            raise ValueError("the URL has characters that are not printable ASCII")
        for name, value in self.headers:
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"header name {name!r} is not a token")
            if name.lower() in _FRAMING:
                raise ValueError(f"header {name} is the transport's own")
            if not _PRINTABLE.fullmatch(value):
                raise ValueError(f"header {name} has characters that are not printable ASCII")


@dataclass(frozen=True)
class Limits:
    """What one transport lets servers and callers take.

    Both time-outs are seconds. `connect_timeout` is for a name lookup that is needed first, then
    afresh for TCP with TLS. `total_timeout` runs from the start of the transfer (neither lookup nor
    waiting for a turn count) to the last byte of the answer. `response_bytes` is how much of a
    body is read. `connections_per_host` and `connections` count requests in flight; `queue` counts
    those that are not yet.
    """

    connect_timeout: float = 3.0
    total_timeout: float = 10.0
    response_bytes: int = 65536
    connections_per_host: int = 8
    connections: int = 256
    queue: int = 10_000


@dataclass(frozen=True)
class Answer:
    """What a server answered; `truncated` when its body went on past `Limits.response_bytes`.

    `retry_after` is that header as it came; `seconds` is how long the transfer took.
    """

    status: int
    body: bytes
    truncated: bool
    retry_after: str | None
    seconds: float


@dataclass(frozen=True)
class NoAnswer:
    """Why there is no answer, as one fixed phrase that holds nothing the server sent.

    `seconds` is how long the transfer took, 0 when none began. `ours` when the reason lies here
    (the transport was closed, or failed) and nothing can be concluded about the server, not
    even whether it got the request.
    """

    reason: str
    seconds: float
    ours: bool = False


Outcome: TypeAlias = Answer | NoAnswer


class Transport:
    """Sends requests from any thread; open until `close` or the end of its `with` block.

    Its thread starts with the first request. A process that was forked gets a thread and
    connections of its own; futures from before the fork stay with the parent. `ca_file` names the
    certificates to trust, in PEM form, where they are not certifi's.
    """

    def __init__(self, limits: Limits = Limits(), ca_file: str | None = None) -> None:
        self._limits = limits
        self._ca_file = ca_file or certifi.where()
        self._closed = False
        self._desks: dict[int, _Desk] = {}

    def submit(self, request: Request) -> Future[Outcome]:
        """Accept a request for sending, without waiting, and give the future of its outcome.

        The future never raises. Cancelling it works until the transfer starts. Its callbacks run
        in the transport's thread and hold up all transfers, so they must be quick. Raise
        TransportBusy when the queue is full, TransportClosed after `close`.
        """
        if self._closed:
            raise TransportClosed("the transport is closed")
        future: Future[Outcome] = Future()
        address = _address(request.url) if len(request.url) <= _URL_LENGTH else None
        if address is None:
            future.set_result(NoAnswer(_BAD_URL, 0.0))
        else:
            self._desk().accept(_Parcel(request, address, future))
        return future

    def close(self, grace: float = 0.0) -> None:
        """Let what was accepted go on for `grace` seconds; what is left then gets a NoAnswer."""
        self._closed = True
        desk = self._desks.get(os.getpid())
        if desk is not None:
            desk.close(grace)

    def __enter__(self) -> Self:
        """Give the transport itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close without grace."""
        self.close()

    def _desk(self) -> "_Desk":
        # A lock here could be held by another thread at the instant of a fork, and then for ever
        # in the child; `setdefault` needs none. The parent's desk stays referenced in the child:
        # to close it would say goodbye on TLS connections that the parent still uses.
        pid = os.getpid()
        return self._desks.get(pid) or self._desks.setdefault(
            pid, _Desk(self._limits, self._ca_file)
        )


# Libcurl frames the body itself; a second, different length is how requests get smuggled.
_FRAMING = frozenset({"content-length", "transfer-encoding", "expect"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")

# Past what servers take (RFC 9110, section 4.1, asks for 8,000), and small enough to remember.
_URL_LENGTH = 16384

# One header section is allowed this many bytes, interim answers included.
_HEADER_BYTES = 65536

# Seconds: the longest sleep with nothing to do, and the most that letting go may take at the end.
_NAP = 60.0
_CLEANUP = 2.0

# Names are remembered for so many seconds and up to so many; so many lookups run at once.
_FRESH = 60.0
_NAMES = 10_000
_LOOKUPS = 64

_BAD_URL = "not a usable URL"
_CLOSED = "transport closed"
_FAILED = "transport failed"
_NOT_HTTP = "not an HTTP answer"
_BROKEN_OFF = "connection broken off"
_FLOOD = "too many response headers"
_TLS = "TLS failure"
_REASONS = {
    pycurl.E_URL_MALFORMAT: _BAD_URL,
    pycurl.E_COULDNT_RESOLVE_HOST: "host not found",
    pycurl.E_COULDNT_CONNECT: "no connection",
    # Bytes that are no status line are HTTP/0.9 to libcurl, "unsupported" because not allowed.
    pycurl.E_UNSUPPORTED_PROTOCOL: _NOT_HTTP,
    pycurl.E_FTP_WEIRD_SERVER_REPLY: _NOT_HTTP,
    100: _FLOOD,  # CURLE_TOO_LARGE, a header line past 100 KB; pycurl has no name for it
    pycurl.E_GOT_NOTHING: _BROKEN_OFF,
    pycurl.E_PARTIAL_FILE: _BROKEN_OFF,
    pycurl.E_RECV_ERROR: _BROKEN_OFF,
    pycurl.E_SEND_ERROR: _BROKEN_OFF,
    pycurl.E_PEER_FAILED_VERIFICATION: "TLS certificate not trusted",
    pycurl.E_SSL_CONNECT_ERROR: _TLS,
    pycurl.E_SSL_CACERT_BADFILE: _TLS,
    pycurl.E_SSL_CERTPROBLEM: _TLS,
    pycurl.E_SSL_CIPHER: _TLS,
}


@dataclass(frozen=True, slots=True)
class _Address:
    """Where a URL leads: whose turn it takes, the name to look up ('' for none), and how."""

    host: str
    name: str
    port: int
    url: str


@functools.lru_cache(maxsize=4096)
def _address(url: str) -> _Address | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        return None
    name = parts.hostname
    if not name:
        return None
    without_credentials = url.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)
    host = f"{parts.scheme} {name} {port}"
    return _Address(host, "" if ":" in name else name, port, without_credentials)


@dataclass(frozen=True, slots=True, eq=False)
class _Parcel:
    """An accepted request, told apart from an equal one."""

    request: Request
    address: _Address
    future: Future[Outcome]

    def refuse(self, outcome: NoAnswer) -> None:
        """Settle a request that has not started."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(outcome)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the lookup of a name came to; no addresses when it failed."""

    name: str
    addresses: tuple[str, ...]


class _Desk:
    """Where other threads hand parcels to the one thread that sends, in one process."""

    def __init__(self, limits: Limits, ca_file: str) -> None:
        self._limits = limits
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._inbox: list[_Parcel] = []
        self._found: list[_Found] = []
        self._waiting = 0  # in the inbox, for a name or for their turn
        self._full = False
        self._closes_at: float | None = None
        self._thread: threading.Thread | None = None
        self._bell: socket.socket | None = None
        self._rung = False

    def accept(self, parcel: _Parcel) -> None:
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

    def report(self, found: _Found) -> None:
        with self._lock:
            self._found.append(found)
            self._ring()

    def close(self, grace: float) -> None:
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
        engine = _Engine(self._limits, self._ca_file, ear, self.report)
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

    def _run(self, engine: "_Engine", bell: socket.socket, ear: socket.socket) -> None:
        ended = NoAnswer(_CLOSED, 0.0, ours=True)
        try:
            self._serve(engine, ear)
        except Exception:  # noqa: BLE001 - the edge of this thread: nobody may be left waiting for it
            _LOG.exception("the transport's thread failed; the next request starts another")
            ended = NoAnswer(_FAILED, 0.0, ours=True)
        finally:
            # Before anybody hears of the end, so that their next request starts a new thread.
            with self._lock:
                inbox, self._inbox = self._inbox, []
                self._waiting, self._thread, self._bell = 0, None, None
            bell.close()
            ear.close()
            engine.end(inbox, ended)

    def _serve(self, engine: "_Engine", ear: socket.socket) -> None:
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


class _Engine:
    """The transfers under way in libcurl, with the sockets and the alarm they wait for."""

    def __init__(
        self, limits: Limits, ca_file: str, ear: socket.socket, report: Callable[[_Found], None]
    ) -> None:
        self._limits = limits
        self._ca_file = ca_file
        self._names = _Names(limits.connect_timeout, report)
        self._turns = _Turns(limits)
        self._transfers: dict[pycurl.Curl, _Transfer] = {}
        self._spare: list[_Transfer] = []
        self._alarm: float | None = None
        self._ear = ear.fileno()
        self._watched = {self._ear}
        self._selector = selectors.DefaultSelector()
        self._selector.register(ear, selectors.EVENT_READ)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, limits.connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_alarm)

    @property
    def waiting(self) -> int:
        return self._names.waiting + self._turns.waiting

    @property
    def idle(self) -> bool:
        return not self.waiting and not self._turns.running

    def admit(self, parcels: list[_Parcel], found: list[_Found], *, sweep: bool) -> None:
        """Have each parcel wait for its name or its turn; first free places if `sweep`."""
        if sweep:
            self._turns.forget_cancelled()
        for answer in found:
            for parcel in self._names.learn(answer):
                if answer.addresses:
                    self._turns.join(parcel)
                else:
                    parcel.refuse(NoAnswer("host not found", 0.0))
        for parcel in parcels:
            if self._names.knows(parcel.address.name):
                self._turns.join(parcel)
            else:
                self._names.ask(parcel)

    def advance(self) -> None:
        """Start the transfers whose turn it is, settle those that ended or are too late."""
        self._start()
        now = time.monotonic()
        for parcel in self._names.late(now):
            parcel.refuse(NoAnswer(f"host not found within {self._names.timeout:g} s", 0.0))
        if self._alarm is not None and self._alarm <= now:
            self._alarm = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if self._settle():
            self._start()

    def wait(self, patience: float) -> None:
        """Wait for a byte in the ear, a socket that is ready or the alarm, and feed libcurl."""
        for alarm in (self._alarm, self._names.alarm):
            if alarm is not None:
                patience = min(patience, alarm - time.monotonic())
        # The bits of `selectors` and libcurl agree: 1 is reading, 2 is writing.
        for key, events in self._selector.select(max(patience, 0.0)):
            if key.fd != self._ear:
                self._multi.socket_action(key.fd, events)

    def end(self, inbox: list[_Parcel], outcome: NoAnswer) -> None:
        """Give `outcome` to all that have none, then let go of every connection."""
        for parcel in (*self._names.left(), *self._turns.left(), *inbox):
            parcel.refuse(outcome)
        for parcel in self._turns.running:
            parcel.future.set_result(outcome)
        self._multi.close()
        for transfer in (*self._transfers.values(), *self._spare):
            transfer.curl.close()
        self._selector.close()

    def _start(self) -> None:
        while (parcel := self._turns.take()) is not None:
            transfer = self._spare.pop() if self._spare else _Transfer(self._limits, self._ca_file)
            try:
                transfer.begin(parcel, self._names.addresses(parcel.address.name))
                self._multi.add_handle(transfer.curl)
            except pycurl.error:
                transfer.curl.close()
                self._turns.leave(parcel)
                parcel.future.set_result(NoAnswer(_BAD_URL, 0.0))
            else:
                self._transfers[transfer.curl] = transfer

    def _settle(self) -> bool:
        ended: list[tuple[pycurl.Curl, int]] = []
        more = 1
        while more:
            more, done, failed = self._multi.info_read()
            ended += [(curl, pycurl.E_OK) for curl in done]
            ended += [(curl, code) for curl, code, _ in failed]
        for curl, code in ended:
            self._multi.remove_handle(curl)
            parcel, outcome = self._transfers[curl].end(code)
            self._spare.append(self._transfers.pop(curl))
            self._turns.leave(parcel)
            parcel.future.set_result(outcome)
        return bool(ended)

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

    def _set_alarm(self, milliseconds: int) -> None:
        self._alarm = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


class _Transfer:
    """One of libcurl's handles, used for one request after another, and what comes back on it."""

    def __init__(self, limits: Limits, ca_file: str) -> None:
        self._limits = limits
        self._parcel: _Parcel
        self.curl = curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.FOLLOWLOCATION, 0)
        curl.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        # An empty proxy also keeps libcurl from asking the environment for one.
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.USERAGENT, "")
        # A user called ".." is a path segment for Policy, not a step up.
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.CAINFO, ca_file)
        # To libcurl, 0 would mean no time-out.
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(limits.connect_timeout * 1000)))
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(limits.total_timeout * 1000)))
        curl.setopt(pycurl.HEADERFUNCTION, self._take_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._take_body)

    def begin(self, parcel: _Parcel, addresses: tuple[str, ...]) -> None:
        """Point the handle at a new request."""
        self._parcel = parcel
        self._header_bytes = 0
        self._retry_after: str | None = None
        self._body: list[bytes] = []
        self._room = self._limits.response_bytes
        self._truncated = False
        self._began = time.monotonic()
        request, address, curl = parcel.request, parcel.address, self.curl
        # What libcurl would add by itself is left out by naming it without a value.
        headers = ["Expect:", "Content-Type:"]
        for name, value in request.headers:
            headers.append(f"{name}: {value}" if value.strip() else f"{name};")
        curl.setopt(pycurl.URL, address.url)
        # The plus lets it expire like what libcurl looks up itself.
        known = [f"[{ip}]" if ":" in ip else ip for ip in addresses]
        found = [f"+{address.name}:{address.port}:{','.join(known)}"] if known else []
        curl.setopt(pycurl.RESOLVE, found)
        curl.setopt(pycurl.HTTPHEADER, headers)
        if request.method == "POST":
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDS, request.body)
        else:
            curl.setopt(pycurl.HTTPGET, 1)

    def end(self, code: int) -> tuple[_Parcel, Outcome]:
        """Give the request and what came of it, `code` being libcurl's word on it."""
        seconds = time.monotonic() - self._began
        if code == pycurl.E_OK or self._truncated:
            status = self.curl.getinfo(pycurl.RESPONSE_CODE)
            body = b"".join(self._body)
            return self._parcel, Answer(status, body, self._truncated, self._retry_after, seconds)
        if code == pycurl.E_OPERATION_TIMEDOUT:
            connect, total = self._limits.connect_timeout, self._limits.total_timeout
            reason = f"no answer within {total:g} s"
            if seconds < total:
                reason = f"no connection within {connect:g} s"
        elif self._header_bytes > _HEADER_BYTES:
            reason = _FLOOD
        else:
            reason = _REASONS.get(code, "transfer failed")
        return self._parcel, NoAnswer(reason, seconds)

    def _take_header(self, line: bytes) -> int:
        self._header_bytes += len(line)
        if self._header_bytes > _HEADER_BYTES:
            return -1
        if line.startswith(b"HTTP/"):
            self._retry_after = None
        elif line[:12].lower() == b"retry-after:":
            self._retry_after = line[12:].strip().decode("latin-1")
        return len(line)

    def _take_body(self, chunk: bytes) -> int:
        self._body.append(chunk[: self._room])
        self._truncated = len(chunk) > self._room
        self._room -= len(self._body[-1])
        return -1 if self._truncated else len(chunk)


class _Host:
    """The turns of one scheme, name and port."""

    def __init__(self) -> None:
        self.waiting: deque[_Parcel] = deque()
        self.running = 0
        self.listed = False


class _Turns:
    """Who may start next: hosts take turns, and none has more in flight than its share."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._hosts: dict[str, _Host] = {}
        self._listed: deque[str] = deque()  # hosts that may start one
        self.waiting = 0
        self.running: set[_Parcel] = set()

    def join(self, parcel: _Parcel) -> None:
        self._hosts.setdefault(parcel.address.host, _Host()).waiting.append(parcel)
        self.waiting += 1
        self._list(parcel.address.host)

    def take(self) -> _Parcel | None:
        """Give the next parcel that may start now, and count it as running."""
        while self._listed and len(self.running) < self._limits.connections:
            name = self._listed.popleft()
            host = self._hosts[name]
            host.listed = False
            parcel = host.waiting.popleft()
            self.waiting -= 1
            starts = parcel.future.set_running_or_notify_cancel()
            if starts:
                self.running.add(parcel)
                host.running += 1
            self._list(name)
            if starts:
                return parcel
        return None

    def leave(self, parcel: _Parcel) -> None:
        self.running.remove(parcel)
        self._hosts[parcel.address.host].running -= 1
        self._list(parcel.address.host)

    def forget_cancelled(self) -> None:
        """Free the places of those that were cancelled while they waited."""
        parcels = [*self.left()]
        self._hosts = {name: host for name, host in self._hosts.items() if host.running}
        self._listed.clear()
        self.waiting = 0
        for host in self._hosts.values():
            host.waiting.clear()
            host.listed = False
        for parcel in parcels:
            if parcel.future.cancelled():
                parcel.future.set_running_or_notify_cancel()
            else:
                self.join(parcel)

    def left(self) -> Iterator[_Parcel]:
        for host in self._hosts.values():
            yield from host.waiting

    def _list(self, name: str) -> None:
        host = self._hosts[name]
        if not host.waiting and not host.running:
            del self._hosts[name]
        elif host.waiting and host.running < self._limits.connections_per_host and not host.listed:
            host.listed = True
            self._listed.append(name)


class _Names:
    """Addresses by name: one thread at a time asks for each, and the answer holds for a while."""

    def __init__(self, timeout: float, report: Callable[[_Found], None]) -> None:
        self.timeout = timeout
        self.waiting = 0
        self._report = report
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}  # with when it gets old
        self._asking: dict[str, dict[_Parcel, None]] = {}
        self._looking: set[str] = set()
        self._deadlines: deque[tuple[float, _Parcel]] = deque()

    @property
    def alarm(self) -> float | None:
        return self._deadlines[0][0] if self.waiting else None

    def knows(self, name: str) -> bool:
        return not name or (name in self._known and self._known[name][0] > time.monotonic())

    def addresses(self, name: str) -> tuple[str, ...]:
        """Give what is known, even if it got old while a request waited for its turn."""
        return self._known[name][1] if name in self._known else ()

    def ask(self, parcel: _Parcel) -> None:
        self.waiting += 1
        self._asking.setdefault(parcel.address.name, {})[parcel] = None
        self._deadlines.append((time.monotonic() + self.timeout, parcel))
        self._look(parcel.address.name)

    def learn(self, found: _Found) -> Iterable[_Parcel]:
        """Take note of an answer and give the parcels that asked for it."""
        self._looking.discard(found.name)
        if found.addresses:
            if len(self._known) >= _NAMES:
                self._known.clear()
            self._known[found.name] = (time.monotonic() + _FRESH, found.addresses)
        parcels = self._asking.pop(found.name, {})
        self.waiting -= len(parcels)
        for name in self._asking:
            if name not in self._looking:
                self._look(name)
                break
        return parcels

    def late(self, now: float) -> Iterator[_Parcel]:
        """Give each parcel that has waited too long, once."""
        while self._deadlines and self._deadlines[0][0] <= now:
            parcel = self._deadlines.popleft()[1]
            name = parcel.address.name
            if parcel in self._asking.get(name, ()):
                del self._asking[name][parcel]
                if not self._asking[name]:
                    del self._asking[name]
                self.waiting -= 1
                yield parcel

    def left(self) -> Iterator[_Parcel]:
        for parcels in self._asking.values():
            yield from parcels

    def _look(self, name: str) -> None:
        # A lookup cannot be interrupted: its thread lives on after all who asked have given up.
        if name not in self._looking and len(self._looking) < _LOOKUPS:
            self._looking.add(name)
            threading.Thread(
                target=lambda: self._report(_look_up(name)), name="lookup", daemon=True
            ).start()


def _look_up(name: str) -> _Found:
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter for labels that no name can have
        return _Found(name, ())
    # Libcurl cannot parse an address with a zone here.
    addresses = dict.fromkeys(str(info[4][0]) for info in infos)
    return _Found(name, tuple(address for address in addresses if "%" not in address))
