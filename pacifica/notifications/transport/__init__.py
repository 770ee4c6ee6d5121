"""Send HTTP requests to many servers at once, each with a future for its result.

One thread for each process and `Transport` drives libcurl's multi interface. Two things that
libcurl offers are done here, so that a bad host or a bad subscription harms no other one:

- Queueing. Libcurl's time-out counts the time in its queue: a request behind a hanging host would
  fail untried. What libcurl gets from here starts at once.
- Looking up names. Libcurl keeps a few threads for it that it cannot interrupt, and asks again for
  each connection: one name whose servers do not answer soon holds them all, and the cleanup too.
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

__all__ = [
    "FlowKey",
    "Limits",
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
