"""What the transport takes and gives: requests, limits, answers, and why there is none."""

import re
from dataclasses import dataclass, field
from typing import TypeAlias

from pacifica.notifications.errors import NotificationsError


class TransportBusy(NotificationsError):
    """As many requests are waiting for their turn as `Limits.queue` allows; later may work."""


class TransportClosed(NotificationsError):
    """The transport takes no more requests."""


@dataclass(frozen=True)
class Request:
    """One request that can be sent as it stands; its credentials stay out of its `repr`.

    Raise ValueError for a method other than GET, POST and OPTIONS, a GET or OPTIONS with a body,
    and for anything in the URL or a header that would let its value write further headers (RFC
    9110, section 5.5).
    User and password in the URL are not sent. `timeout`, in seconds, is for a request that may take
    less than `Limits.total_timeout` says: at most so long for a lookup, and so long from then on.
    """

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    timeout: float | None = None

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

    Time-outs are seconds. `connect_timeout` is for a name lookup that is needed first, then
    afresh for TCP with TLS. `total_timeout` runs from the start of the transfer (neither lookup nor
    waiting for a turn count) to the last byte of the answer. `read_timeout` is how long a server
    may be silent once there is a connection: take no byte, send none of a body and no whole line of
    a header. Transfers are looked at in such intervals that it may be a fifth longer.

    `response_bytes` is how much of a body is read. `connections_per_host` and `connections` count
    requests in flight; `queue` counts those that are not yet, of which one host may have a quarter.
    Whatever `connections` says, sockets take no more than half of the files that the process may
    have open.

    Not every host may start one until all `connections` are taken. One that has some in flight may
    while no more than `part_for_served` of them are; one that has none and whose last request took
    more than `prompt` seconds, up to `part_for_slow`; one that nothing is known of, up to
    `part_for_new`. So much is remembered of so many `hosts`.

    What a name was found to be is looked up again after `names_fresh` seconds, and not used for
    more than `names_kept`; so many `lookups` run at once.
    """

    connect_timeout: float = 3.0
    total_timeout: float = 10.0
    read_timeout: float = 10.0
    response_bytes: int = 65536
    connections_per_host: int = 8
    connections: int = 1024
    part_for_served: float = 1 / 2
    part_for_slow: float = 3 / 4
    part_for_new: float = 7 / 8
    prompt: float = 0.5
    hosts: int = 4096
    names_fresh: float = 60.0
    names_kept: float = 600.0
    lookups: int = 256
    queue: int = 10_000


@dataclass(frozen=True)
class Response:
    """What a server answered; `truncated` when its body went on past `Limits.response_bytes`.

    `retry_after` is that header as it came, `allowed_origin` WebHook-Allowed-Origin, which is
    looked for in answers to OPTIONS; `seconds` is how long the transfer took.
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

    `seconds` is how long the transfer took, 0 when none began. `ours` when the reason lies here
    (the transport was closed, or failed) and nothing can be concluded about the server, not
    even whether it got the request. `refused` when the rules do not let a request go there; the
    reason is the rule.
    """

    reason: str
    seconds: float
    ours: bool = False
    refused: bool = False


SendResult: TypeAlias = Response | SendFailure


# Libcurl frames the body itself; a second, different length is how requests get smuggled.
_FRAMING = frozenset({"content-length", "transfer-encoding", "expect"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
