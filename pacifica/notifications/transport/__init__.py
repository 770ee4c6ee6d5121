"""Send HTTP requests to many servers at once, each with a future for what came of it.

One thread for each process and `Transport` drives libcurl's multi interface. Two things that
libcurl offers are done here, so that a bad host harms no other one:

- Waiting for a host's turn. Libcurl's time-out counts the waiting: a request behind a hanging host
  would fail untried. What libcurl gets from here starts at once.
- Looking up names. Libcurl keeps a few threads for it that it cannot interrupt, and asks again for
  each connection: one name whose servers do not answer soon holds them all, and the cleanup too.
"""

from pacifica.notifications.transport.client import Transport
from pacifica.notifications.transport.exchange import (
    Limits,
    Request,
    Response,
    SendFailure,
    SendResult,
    TransportBusy,
    TransportClosed,
)
from pacifica.notifications.transport.lookup import Lookups

__all__ = [
    "Limits",
    "Lookups",
    "Request",
    "Response",
    "SendFailure",
    "SendResult",
    "Transport",
    "TransportBusy",
    "TransportClosed",
]
