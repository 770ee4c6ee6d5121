"""The transport's values: requests, limits, responses and failures."""

import functools
import re
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import urlsplit

from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.subscriptions.networks import literal_address

# How many times the free capacity one user may take.
_USER_SHARE = 4

# More than servers accept (RFC 9110, section 4.1, asks for 8,000), and small enough to cache.
MAX_URL_LENGTH = 16384


class TransportBusy(NotificationsError):
    """`Limits.queue` requests are waiting already; a later attempt may succeed."""


class TransportClosed(NotificationsError):
    """The transport is closed and accepts no more requests."""


@dataclass(frozen=True, slots=True)
class FlowKey:
    """The user of a request, and which of the user's flows it belongs to.

    A host is shared fairly among its users first, then among the flows of each user. A delivery
    belongs to the flow of its subscription.
    """

    user: str
    flow: Hashable


@dataclass(frozen=True)
class Request:
    """One complete request; its `repr` hides credentials.

    Raises ValueError for a method other than GET, POST and OPTIONS, a GET or OPTIONS with a body,
    and for a URL or header whose value could inject further headers (RFC 9110, section 5.5). User
    and password in the URL are not sent. `timeout` (seconds) is for a request that must take less
    than `Limits.total_timeout`: it limits the lookup, and then again everything after it. Requests
    without a `flow_key` form one flow for each host.
    """

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: float | None = None
    flow_key: FlowKey | None = None

    def __post_init__(self) -> None:
        """Validate the method, the URL and the headers."""
        if self.method not in ("GET", "POST", "OPTIONS"):
            raise ValueError(f"method {self.method!r} is not GET, POST or OPTIONS")
        if self.method != "POST" and self.body:
            raise ValueError(f"{self.method} has no body")
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
    """The time, data, connections and queue that servers and callers may use.

    Time-outs are seconds. `connect_timeout` limits the lookup of a name, from its start, and then
    again TCP with TLS. `total_timeout` runs from the start of the transfer (lookup and queue do not
    count) to the last byte of the response. `read_timeout` is how long a server may be silent after
    it is connected: it accepts no byte, and sends no byte of a body and no complete header line.
    Transfers are checked at intervals, so this may be a fifth longer.

    `response_bytes` is how much of a body is read. `connections`, `connections_per_host` and
    `connections_per_flow` limit the requests in flight; the last is for requests with a flow key.
    Sockets never use more than half of the files that the process may have open. `queue` limits the
    requests that have not started.

    A request that took at most `prompt` seconds was prompt. This is remembered for `remembered`
    hosts, and for as many flows.

    An address is looked up again after `dns_fresh` seconds, and used for at most `dns_kept`. Up to
    `lookups` run at once.
    """

    connect_timeout: float = 3.0
    total_timeout: float = 10.0
    read_timeout: float = 10.0
    response_bytes: int = 65536
    connections_per_flow: int = 16
    connections_per_host: int = 8
    connections: int = 1024
    prompt: float = 0.5
    remembered: int = 10_000
    dns_fresh: float = 60.0
    dns_kept: float = 600.0
    lookups: int = 256
    queue: int = 10_000


@dataclass(frozen=True)
class Response:
    """A server's response; `truncated` if its body exceeds `Limits.response_bytes`.

    `retry_after` is the unparsed header. `allowed_origin` is WebHook-Allowed-Origin, which is read
    from responses to OPTIONS only. `seconds` is how long the transfer took. `headers` are the
    beginning of the status line and the headers as they came, and `address` is the server's.
    """

    status: int
    body: bytes
    truncated: bool
    retry_after: str | None
    seconds: float
    allowed_origin: str | None = None
    headers: bytes = field(default=b"", compare=False)
    address: str = field(default="", compare=False)


@dataclass(frozen=True)
class SendFailure:
    """Why there is no response; `reason` is a fixed phrase of our own.

    `seconds` is how long the failed lookup or transfer took, 0 if none began. `ours` means that the
    cause lies here (the transport was closed or failed): nothing is known about the server, not
    even whether it received the request. `refused` means that the rules do not permit the address;
    `reason` is then the rule. A retry within `retry_in` seconds would hardly succeed. `address` is
    the server's; empty: there was no connection.
    """

    reason: str
    seconds: float
    ours: bool = False
    refused: bool = False
    retry_in: float = 0.0
    address: str = field(default="", compare=False)


SendResult: TypeAlias = Response | SendFailure


@dataclass(frozen=True, slots=True)
class Address:
    """The host of a URL (scheme, name and port), and the name to look up, if any.

    If the name is an IPv4 address, `literal` is that address, and there is nothing to look up. The
    name is empty for an IPv6 address.
    """

    host: str
    name: str
    port: int
    url: str
    literal: str = ""

    @property
    def scheme(self) -> str:
        """The scheme of the URL, in lower case."""
        return self.host.partition(" ")[0]


@functools.lru_cache(maxsize=4096)
def address_of(url: str) -> Address | None:
    """Return the address of an http or https URL; None if it is unusable."""
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
    if ":" in name:
        return Address(host, "", port, without_credentials)
    literal = literal_address(name)
    return Address(host, name, port, without_credentials, str(literal) if literal else "")


@dataclass(frozen=True, slots=True, eq=False)
class PendingRequest:
    """A queued request, which is distinct from any equal request."""

    request: Request
    address: Address
    future: Future[SendResult]

    @property
    def flow_key(self) -> FlowKey:
        """The request's flow key; a default one for the host if it has none."""
        return self.request.flow_key or _WHOLE_HOST

    def fail(self, failure: SendFailure) -> None:
        """Settle a request that has not started, unless it was cancelled."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(failure)


def is_cancelled(pending: PendingRequest) -> bool:
    """Return whether a request was cancelled before it started; notify its waiters."""
    return pending.future.cancelled() and not pending.future.set_running_or_notify_cancel()


def is_within_share(taken: float, free: float) -> bool:
    """Return whether a user who has `taken` may take more, with `free` left for all.

    One user alone gets four fifths, two get eight ninths together, and so on. So a user who has
    nothing can always get something. These are dynamic thresholds, as in the buffers of switches
    (A. Choudhury and E. Hahne, 1998).
    """
    return taken < _USER_SHARE * free


_WHOLE_HOST = FlowKey("", None)

# Libcurl frames the body itself; a second, different length would allow request smuggling.
_FRAMING = frozenset({"content-length", "transfer-encoding", "expect"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
