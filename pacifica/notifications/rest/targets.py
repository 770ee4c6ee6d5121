"""Talks to targets while their owners wait: to ask for consent, and to try them."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from pacifica.notifications.delivery import (
    authorization,
    objection,
    origin,
    permission_request,
)
from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.settings import DeliverySettings
from pacifica.notifications.subscriptions import Channel, delivery_rules, literal_address
from pacifica.notifications.transport import (
    Request,
    Resolver,
    SendResult,
    Transport,
    TransportBusy,
    TransportClosed,
)

# How many threads of a process may wait for targets to agree, and for lookups of names.
MAX_WAITING = 3
_RETRY_AFTER = 5
# Seconds to wait for the transport's result beyond its own time-outs.
_GRACE = 5


class TargetChecks:
    """Checks targets for one process; `transport` asks them for permission."""

    def __init__(self, settings: DeliverySettings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._rules = delivery_rules(settings)
        self._resolver = Resolver(MAX_WAITING, self._rules)
        self._lock = threading.Lock()
        self._waiting_users: set[str] = set()

    def require(self, url: str, auth: Mapping[str, Any], user: str) -> None:
        """Refuse a target that the rules do not permit, or that does not agree.

        This may take as long as a lookup and a delivery, so no transaction may be open. Raises
        InvalidInput, or ApiError (429 or 503) when too many requests wait for targets to agree.
        """
        if Channel.of(url) is Channel.PULL:  # nothing is sent anywhere
            return
        self.require_permitted(url)
        if self._settings.handshake:
            self._require_agreed(url, auth, user)

    def send(self, request: Request, user: str) -> SendResult:
        """Send a request for a user who waits for the result, within the time-outs of deliveries.

        Raises ApiError (429 or 503) when the user, or too many others, wait for targets already.
        """
        timeout = self._settings.connect_timeout + self._settings.timeout + _GRACE
        with self.place_of(user):
            try:
                return self._transport.submit(request).result(timeout)
            except (TransportBusy, TransportClosed, TimeoutError) as error:
                raise _busy() from error

    def require_permitted(self, url: str) -> None:
        """Raise InvalidInput for a target whose scheme or address the rules do not permit.

        A name that cannot be looked up now is accepted, because each delivery is checked again.
        """
        parts = urlsplit(url)
        broken = self._rules.refusal_of_scheme(parts.scheme)
        if broken is None and self._rules.refuse_addresses:
            host = parts.hostname or ""
            address = literal_address(host)
            if address is not None:
                broken = self._rules.refusal(address)
            elif (
                found := self._resolver.resolve(host, self._settings.connect_timeout)
            ) is not None:
                broken = found.refusal
        if broken is not None:
            raise InvalidInput(("target_url", broken))

    def _require_agreed(self, url: str, auth: Mapping[str, Any], user: str) -> None:
        asker = origin(self._settings)
        try:
            request = permission_request(url, authorization(auth), asker)
        except ValueError as error:
            raise InvalidInput(("auth", str(error))) from error
        problem = objection(self.send(request, user), asker)
        if problem is not None:
            raise InvalidInput(("target_url", f"did not agree to be sent events: {problem}"))

    @contextmanager
    def place_of(self, user: str) -> Iterator[None]:
        """Reserve a place to wait during the block: one for each user, a few in all."""
        with self._lock:
            if user in self._waiting_users:
                raise ApiError(
                    429,
                    "another target of yours is being tried; try again later",
                    headers={"Retry-After": str(_RETRY_AFTER)},
                )
            if len(self._waiting_users) >= MAX_WAITING:
                raise _busy()
            self._waiting_users.add(user)
        try:
            yield
        finally:
            with self._lock:
                self._waiting_users.remove(user)


def _busy() -> ApiError:
    return ApiError(
        503,
        "too many targets are being tried; try again later",
        headers={"Retry-After": str(_RETRY_AFTER)},
    )
