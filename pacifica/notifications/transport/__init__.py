"""Sends HTTP requests to many servers at once, each with a future for its result.

One thread for each process and `Transport` drives libcurl's multi interface. This package replaces
two features of libcurl, so that a bad host or a bad subscription does not harm others:

- Queueing. Libcurl's time-out includes the time in its queue, so a request behind a hanging host
  would fail untried. A request that is passed to libcurl from here starts at once.
- DNS lookups. Libcurl does them in a few threads that it cannot interrupt, and repeats them for
  each connection. One name whose servers do not answer soon blocks them all, and the cleanup too.
"""

from pacifica.notifications.transport.client import Transport
from pacifica.notifications.transport.dns import Resolver
from pacifica.notifications.transport.engine import raise_file_limit
from pacifica.notifications.transport.messages import (
    FlowKey,
    Limits,
    Request,
    Response,
    SendFailure,
    SendResult,
    TransportBusy,
    TransportClosed,
    address_of,
    is_within_share,
)
from pacifica.notifications.transport.observed import ObservedTransport, Observer

__all__ = [
    "FlowKey",
    "Limits",
    "ObservedTransport",
    "Observer",
    "Request",
    "Resolver",
    "Response",
    "SendFailure",
    "SendResult",
    "Transport",
    "TransportBusy",
    "TransportClosed",
    "address_of",
    "is_within_share",
    "raise_file_limit",
]
