"""Which targets a subscription may name: those that the rules permit and that agree."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from pacifica.notifications.delivery import authorization
from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.handshake import objection, origin, question
from pacifica.notifications.networks import delivery_rules, literal
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.service import lookups, settings, to_targets
from pacifica.notifications.transport import TransportBusy, TransportClosed

# So many threads of a process wait for targets, so that they never hold up all that it has.
AT_ONCE = 3
_RETRY_AFTER = 5
# Seconds for which a transport's word is waited for past the time-outs that it keeps itself.
_GRACE = 5


def require_target(url: str, auth: Mapping[str, Any], user: str) -> None:
    """Refuse a target that no event may be sent to, or that does not agree to it.

    Takes as long as a lookup and a delivery may, so no transaction may be open. Raises
    InvalidInput; answers 429 or 503 where too many wait for targets to agree.
    """
    require_permitted(url)
    if settings().delivery_handshake:
        _require_agreed(url, auth, user)


def require_permitted(url: str) -> None:
    """Raise InvalidInput for a target whose scheme or address the rules do not permit.

    A name that is not found now, or not within the time to connect, passes: each delivery is
    checked anew.
    """
    rules = delivery_rules(settings())
    parts = urlsplit(url)
    broken = rules.refusal_of_scheme(parts.scheme)
    if broken is None and rules.refuse_addresses:
        host = parts.hostname or ""
        address = literal(host)
        if address is not None:
            broken = rules.refusal(address)
        elif (found := lookups().resolve(host, settings().delivery_connect_timeout)) is not None:
            broken = found.refusal
    if broken is not None:
        raise InvalidInput(("target_url", broken))


def _require_agreed(url: str, auth: Mapping[str, Any], user: str) -> None:
    asker = origin(settings())
    try:
        request = question(url, authorization(auth), asker)
    except ValueError as error:
        raise InvalidInput(("auth", str(error))) from error
    longest = settings().delivery_connect_timeout + settings().delivery_timeout
    with _PLACES.taken(user):
        try:
            result = to_targets().submit(request).result(longest + _GRACE)
        except (TransportBusy, TransportClosed, TimeoutError) as error:
            raise _busy() from error
    problem = objection(result, asker)
    if problem is not None:
        raise InvalidInput(("target_url", f"did not agree to be sent events: {problem}"))


class _Places:
    """Who waits for a target to agree: a few users at once, each for one target."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._users: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, user: str) -> Iterator[None]:
        """Take a place for the block; answers 429 or 503 where there is none."""
        with self._lock:
            if user in self._users:
                raise ApiError(
                    429,
                    "another target of yours is being asked to agree; try again later",
                    headers={"Retry-After": str(_RETRY_AFTER)},
                )
            if len(self._users) >= self._most:
                raise _busy()
            self._users.add(user)
        try:
            yield
        finally:
            with self._lock:
                self._users.remove(user)


def _busy() -> ApiError:
    return ApiError(
        503,
        "too many targets are being asked to agree; try again later",
        headers={"Retry-After": str(_RETRY_AFTER)},
    )


_PLACES = _Places(AT_ONCE)
