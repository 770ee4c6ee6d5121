"""The transport's values: requests, limits, responses, and why a request has none."""

import functools
import re
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import urlsplit

from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.subscriptions.networks import literal_address

# How many times what is still free one user may take.
_USER_SHARE = 4

# Past what servers take (RFC 9110, section 4.1, asks for 8,000), and small enough to remember.
MAX_URL_LENGTH = 16384


class TransportBusy(NotificationsError):
    """As many requests are waiting as `Limits.queue` allows; later may work."""


class TransportClosed(NotificationsError):
    """The transport takes no more requests."""


@dataclass(frozen=True, slots=True)
class FlowKey:
    """Whose request it is, and which of the user's flows of requests it belongs to.

    The flows of a host share it fairly: first its users do, then the flows of each user. A delivery
    belongs to the flow of its subscription.
    """

    user: str
    flow: Hashable


@dataclass(frozen=True)
class Request:
    """One request that can be sent as it stands; its credentials stay out of its `repr`.

    Raise ValueError for a method other than GET, POST and OPTIONS, a GET or OPTIONS with a body,
    and for anything in the URL or a header that would let its value write further headers (RFC
    9110, section 5.5).
    User and password in the URL are not sent. `timeout`, in seconds, is for a request that may take
    less than `Limits.total_timeout` says: at most so long for a lookup, and so long from then on.
    Requests without a `flow_key` are one flow for each host.
    """

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: float | None = None
    flow_key: FlowKey | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be sent as it stands."""
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
    """What one transport lets servers and callers take.

    Time-outs are seconds. `connect_timeout` is for a name lookup that is needed first, from when it
    starts, then afresh for TCP with TLS. `total_timeout` runs from the start of the transfer
    (neither lookup nor waiting in the queue count) to the last byte of the response. `read_timeout`
    is how long a server may be silent once there is a connection: take no byte, send none of a body
    and no whole line of a header. Transfers are checked at intervals, so that it may be a fifth
    longer.

    `response_bytes` is how much of a body is read. `connections`, `connections_per_host` and
    `connections_per_flow` bound the requests in flight; the last one is for requests with a flow
    key. Whatever `connections` says, sockets take no more than half of the files that the process
    may have open. `queue` bounds the requests that have not started.

    A request that took at most `prompt` seconds was prompt. That is remembered of `remembered`
    hosts, and of as many flows.

    An address is looked up again after `dns_fresh` seconds, and not used for more than `dns_kept`;
    so many `lookups` run at once.
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
    """What a server answered; `truncated` when its body went on past `Limits.response_bytes`.

    `retry_after` is that header as it came. `allowed_origin` is WebHook-Allowed-Origin, which is
    looked for in responses to OPTIONS. `seconds` is how long the transfer took.
    """

    status: int
    body: bytes
    truncated: bool
    retry_after: str | None
    seconds: float
    allowed_origin: str | None = None


@dataclass(frozen=True)
class SendFailure:
    """Why there is no answer, as one fixed phrase that holds nothing the server sent.

    `seconds` is how long the lookup or the transfer took that failed, 0 when none began. It is
    `ours` when the reason lies here (the transport was closed, or failed) and nothing can be
    concluded about the server, not even whether it got the request. It is `refused` when the rules
    do not let a request go there; the reason is the rule. Before `retry_in` seconds, another try
    would hardly get further.
    """

    reason: str
    seconds: float
    ours: bool = False
    refused: bool = False
    retry_in: float = 0.0


SendResult: TypeAlias = Response | SendFailure


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads: its host (scheme, name and port), and the name to look up, if any.

    `literal` is the IPv4 address that the name spells out; there is nothing to look up then. The
    name of an IPv6 address is empty.
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
    """Return where an http or https URL leads, without credentials; None if it is unusable."""
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
    """An accepted request, told apart from an equal one."""

    request: Request
    address: Address
    future: Future[SendResult]

    @property
    def flow_key(self) -> FlowKey:
        """The flow it belongs to, which is the host's only one where the request names none."""
        return self.request.flow_key or _WHOLE_HOST

    def fail(self, failure: SendFailure) -> None:
        """Settle a request that has not started, unless it was cancelled."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(failure)


def is_cancelled(pending: PendingRequest) -> bool:
    """Tell whether a request that has not started was cancelled; who waits for it is told."""
    return pending.future.cancelled() and not pending.future.set_running_or_notify_cancel()


def is_within_share(taken: float, free: float) -> bool:
    """Tell whether a user that has `taken` may have more, where so much is still free for all.

    One user alone gets four fifths, two get eight ninths together, and so on: whatever is there to
    be shared, a user who has nothing of it finds some. (Dynamic thresholds, as switches have them
    for their buffers: A. Choudhury and E. Hahne, 1998.)
    """
    return taken < _USER_SHARE * free


_WHOLE_HOST = FlowKey("", None)

# Libcurl frames the body itself; a second, different length is how requests get smuggled.
_FRAMING = frozenset({"content-length", "transfer-encoding", "expect"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
