"""The configuration from the environment: services, caller and time-outs."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .errors import TransferError

_VISIBLE = re.compile("[!-~]+")


@dataclass(frozen=True)
class Configured:
    """The values from the environment; times are in seconds.

    `timeout` limits the wait for one cart or ingest. `read_timeout` is how long a service may be
    silent. `poll` is the time between two requests for the state of a cart or ingest.
    """

    cart: str
    ingest: str
    policy: str
    user: str | None
    authorization: str | None = field(repr=False)
    timeout: float
    connect_timeout: float
    read_timeout: float
    poll: float


def configured(environment: Mapping[str, str] = os.environ) -> Configured:
    """Read the environment; raise TransferError with the variable, but not its value."""
    return Configured(
        cart=_url(environment, "PACIFICA_CART_URL", "http://127.0.0.1:8081"),
        ingest=_url(environment, "PACIFICA_INGEST_URL", "http://127.0.0.1:8066"),
        policy=_url(environment, "PACIFICA_POLICY_URL", "http://127.0.0.1:8181"),
        user=_header(environment, "PACIFICA_USER"),
        authorization=_header(environment, "PACIFICA_AUTHORIZATION"),
        timeout=_seconds(environment, "PACIFICA_TRANSFER_TIMEOUT", 3600),
        connect_timeout=_seconds(environment, "PACIFICA_CONNECT_TIMEOUT", 10),
        read_timeout=_seconds(environment, "PACIFICA_READ_TIMEOUT", 60),
        poll=_seconds(environment, "PACIFICA_POLL", 1),
    )


def _url(environment: Mapping[str, str], name: str, default: str) -> str:
    text = environment.get(name) or default
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises ValueError past 65535
    except ValueError as error:
        raise TransferError(f"{name} is not a URL") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TransferError(f"{name} is not an http or https URL")
    if "@" in parts.netloc:
        raise TransferError(f"{name} holds credentials: PACIFICA_AUTHORIZATION is for them")
    if parts.query or parts.fragment or not _VISIBLE.fullmatch(text):
        raise TransferError(f"{name} is not the URL of a service")
    return text.rstrip("/")


def _header(environment: Mapping[str, str], name: str) -> str | None:
    text = environment.get(name)
    if text and not (text.isascii() and text.isprintable()):
        raise TransferError(f"{name} has characters that no header can have")
    return text or None


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    try:
        seconds = float(environment.get(name) or default)
    except ValueError as error:
        raise TransferError(f"{name} is not a number") from error
    if not 0 < seconds < math.inf:
        raise TransferError(f"{name} must be more than 0")
    return seconds
