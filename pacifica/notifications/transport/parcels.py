"""Accepted requests on their way to libcurl."""

import functools
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import urlsplit

from pacifica.notifications.transport.exchange import Request, SendFailure, SendResult

# Past what servers take (RFC 9110, section 4.1, asks for 8,000), and small enough to remember.
URL_LENGTH = 16384


@dataclass(frozen=True, slots=True)
class Address:
    """Where a URL leads: whose turn it takes, the name to look up ('' for none), and how."""

    host: str
    name: str
    port: int
    url: str

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
    return Address(host, "" if ":" in name else name, port, without_credentials)


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """An accepted request, told apart from an equal one."""

    request: Request
    address: Address
    future: Future[SendResult]

    def refuse(self, outcome: SendFailure) -> None:
        """Settle a request that has not started."""
        if self.future.set_running_or_notify_cancel():
            self.future.set_result(outcome)
