"""Tells whether a change was asked for by a page of this service itself."""

from collections.abc import Mapping
from urllib.parse import urlsplit

_OURS = ("same-origin", "none")  # "none": the user's own doing, such as repeating a request
_PORTS = {"http": 80, "https": 443}


def is_same_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a request comes from a page of the origin that it is sent to.

    `headers` are by names such as `Sec-Fetch-Site` (W3C Fetch Metadata). A browser that does not
    send it sends `Origin` (RFC 6454), whose host must be the one that was asked for. A request
    without both is refused: no browser sends such a one for a form.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in _OURS
    host, port = _address(headers.get("Origin", ""))
    if not host:
        return False
    # No page elsewhere can have a browser send X-Forwarded-Host, so that it is a proxy's.
    forwarded = headers.get("X-Forwarded-Host", "").split(",")[-1].strip()
    asked = (each for each in (headers.get("Host", ""), forwarded) if each)
    scheme = urlsplit(headers["Origin"]).scheme
    return any(_address(f"{scheme}://{each}") == (host, port) for each in asked)


def _address(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return "", None
