"""The transport as its users have it."""

import os
from concurrent.futures import Future
from typing import Self

import certifi

from pacifica.notifications.subscriptions.networks import NO_RULES, Rules
from pacifica.notifications.transport.desk import Desk
from pacifica.notifications.transport.exchange import (
    Limits,
    Request,
    SendFailure,
    SendResult,
    TransportClosed,
)
from pacifica.notifications.transport.parcels import URL_LENGTH, Parcel, address_of
from pacifica.notifications.transport.transfer import BAD_URL

_DEFAULTS = Limits()


class Transport:
    """Sends requests from any thread; open until `close` or the end of its `with` block.

    Its thread starts with the first request. A process that was forked gets a thread and
    connections of its own; futures from before the fork stay with the parent. `ca_file` names the
    certificates to trust, in PEM form, where they are not certifi's. Where a request may go is up
    to `rules`: they are asked about each address that a connection is opened to.
    """

    def __init__(
        self, limits: Limits = _DEFAULTS, ca_file: str | None = None, rules: Rules = NO_RULES
    ) -> None:
        self._limits = limits
        self._rules = rules
        self._ca_file = ca_file or certifi.where()
        self._closed = False
        self._desks: dict[int, Desk] = {}

    def submit(self, request: Request) -> Future[SendResult]:
        """Accept a request for sending, without waiting, and give the future of its outcome.

        The future never raises. Cancelling it works until the transfer starts. Its callbacks run
        in the transport's thread and hold up all transfers, so they must be quick. Raise
        TransportBusy when the queue is full, TransportClosed after `close`.
        """
        if self._closed:
            raise TransportClosed("the transport is closed")
        future: Future[SendResult] = Future()
        address = address_of(request.url) if len(request.url) <= URL_LENGTH else None
        if address is None:
            future.set_result(SendFailure(BAD_URL, 0.0))
        elif (broken := self._rules.refusal_of_scheme(address.scheme)) is not None:
            future.set_result(SendFailure(broken, 0.0, refused=True))
        else:
            self._desk().accept(Parcel(request, address, future))
        return future

    def close(self, grace: float = 0.0) -> None:
        """Let what was accepted go on for `grace` seconds; what is left then gets a SendFailure."""
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

    def _desk(self) -> Desk:
        # A lock here could be held by another thread at the instant of a fork, and then for ever
        # in the child; `setdefault` needs none. The parent's desk stays referenced in the child:
        # to close it would say goodbye on TLS connections that the parent still uses.
        pid = os.getpid()
        return self._desks.get(pid) or self._desks.setdefault(
            pid, Desk(self._limits, self._rules, self._ca_file)
        )
