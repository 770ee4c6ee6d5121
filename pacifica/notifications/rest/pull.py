"""`/eventmatch/ID/pull`: fetch events from a subscription, and say what became of them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import cherrypy

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.jsontext import read_json
from pacifica.notifications.rest.access import Access, not_found, require_owned
from pacifica.notifications.rest.admission import require_proxy
from pacifica.notifications.rest.body import read_body
from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.errors import ApiError, answering_errors, encode_text
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.settings import PullSettings
from pacifica.notifications.stages.pull import Pulled, PulledDelivery
from pacifica.notifications.store import pulling
from pacifica.notifications.store.holding import hold_for_disabled
from pacifica.notifications.store.pulling import LockResult, PullLock
from pacifica.notifications.store.revisions import read_subscriptions
from pacifica.notifications.subscriptions import PULL_URL, Subscription
from pacifica.notifications.validation import Schema

_LIMITS = PullSettings()
_LOCK = {
    "type": "integer",
    "minimum": _LIMITS.min_lock,
    "maximum": _LIMITS.max_lock,
    "default": _LIMITS.lock,
}
# The locks themselves are checked as they are read, since a schema takes long for a hundred.
_LOCKS = {
    "type": "array",
    "minItems": 1,
    "maxItems": _LIMITS.max_batch,
    "uniqueItems": True,
}
PULL_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "max": {"type": "integer", "minimum": 1, "maximum": _LIMITS.max_batch, "default": 1},
        "lock": _LOCK,
        "wait": {"type": "integer", "minimum": 0, "maximum": _LIMITS.max_wait, "default": 0},
    },
    "additionalProperties": False,
}
ACKNOWLEDGE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"locks": _LOCKS},
    "required": ["locks"],
    "additionalProperties": False,
}
RELEASE_SCHEMA: Final[dict[str, Any]] = {
    **ACKNOWLEDGE_SCHEMA,
    "properties": {
        "locks": _LOCKS,
        "delay": {"type": "integer", "minimum": 0, "maximum": _LIMITS.max_lock, "default": 0},
    },
}
RENEW_SCHEMA: Final[dict[str, Any]] = {
    **ACKNOWLEDGE_SCHEMA,
    "properties": {"locks": _LOCKS, "lock": _LOCK},
}


class Pull:
    """Fetch from a subscription, and acknowledge, release or renew what was fetched."""

    exposed = True
    _cp_config = {  # noqa: RUF012
        "hooks.on_start_resource": require_proxy,
        "hooks.before_handler": partial(require_known, {3: ("POST",), 4: ("POST",)}),
    }

    def __init__(self, subscription: str) -> None:
        self._subscription = subscription

    @answering_errors
    def POST(self, action: str | None = None) -> bytes:  # noqa: N802
        """Fetch deliveries, or say what became of those that were fetched."""
        access = require_owned(self._subscription)
        if action is None:
            return _encoded(fetch(access, _body(_FETCH)))
        if action not in _ACTIONS:
            raise ApiError(404, "there is nothing at this path")
        schema, act = _ACTIONS[action]
        body = _body(schema)
        locks = [_lock(number, each) for number, each in enumerate(body["locks"])]
        _require_pulled(access)
        return encode_text({"items": _answered(body["locks"], act(access, locks, body))})


def fetch(access: Access, body: Mapping[str, Any]) -> Pulled:
    """Fetch from the caller's subscription; refuses one that is not pulled or disabled (409)."""
    subscription = _require_pulled(access)
    if access.subscription["disabled"] is not None:
        hold_for_disabled([access.uuid])
        raise ApiError(409, "the subscription is disabled: enable it first")
    # A server without threads answers nobody else while a request waits.
    wait = body.get("wait", 0) if cherrypy.request.multithread else 0
    lock = body.get("lock", _LIMITS.lock)
    # JSON's 1.0 is an integer, too.
    count = int(body.get("max", 1))
    # Other servers than our own do not tell.
    is_gone = cherrypy.request.wsgi_environ.get("waitress.client_disconnected", lambda: False)
    return context().puller.fetch(subscription, count, lock, wait, is_gone)


def _acknowledge(
    access: Access, locks: Sequence[PullLock], _body: Mapping[str, Any]
) -> Sequence[LockResult]:
    return pulling.acknowledge(access.uuid, locks)


def _release(
    access: Access, locks: Sequence[PullLock], body: Mapping[str, Any]
) -> Sequence[LockResult]:
    return pulling.release(access.uuid, locks, body.get("delay", 0), context().settings.pull)


def _renew(
    access: Access, locks: Sequence[PullLock], body: Mapping[str, Any]
) -> Sequence[LockResult]:
    return pulling.renew(access.uuid, locks, body.get("lock", _LIMITS.lock))


_Act = Callable[[Access, Sequence[PullLock], Mapping[str, Any]], Sequence[LockResult]]
_FETCH = Schema(PULL_SCHEMA)
_ACTIONS: dict[str, tuple[Schema, _Act]] = {
    "acknowledge": (Schema(ACKNOWLEDGE_SCHEMA), _acknowledge),
    "release": (Schema(RELEASE_SCHEMA), _release),
    "renew": (Schema(RENEW_SCHEMA), _renew),
}


def _lock(number: int, text: Any) -> PullLock:
    """Return a lock of a request; raises InvalidInput."""
    try:
        return PullLock.parsed(text)
    except (TypeError, ValueError) as error:
        raise InvalidInput((f"locks.{number}", "must be a lock that a fetch gave")) from error


def _body(schema: Schema) -> dict[str, Any]:
    """Return the request's body, which keeps a schema; an absent one is empty."""
    limits = context().settings.eventmatch
    text = read_body(limits.max_body)
    body = read_json(text, limits.max_depth) if text else {}
    schema.check(body)
    return dict(body)


def _require_pulled(access: Access) -> Subscription:
    stored = read_subscriptions([access.uuid])[access.uuid].value
    if stored is None:
        raise not_found()
    if not stored.is_pulled:
        raise ApiError(409, f"nothing is fetched from it: its target_url is not {PULL_URL}")
    return stored


def _answered(texts: Sequence[str], results: Sequence[LockResult]) -> list[dict[str, str]]:
    return [{"lock": text, "result": result} for text, result in zip(texts, results, strict=True)]


def _encoded(pulled: Pulled) -> bytes:
    """Return what was fetched as JSON, with each event as it would have been sent."""
    items = b", ".join(map(_encoded_item, pulled.deliveries))
    retry_after = encode_text(pulled.retry_after)
    return b'{"items": [%b], "retry_after": %b}' % (items, retry_after)


def _encoded_item(each: PulledDelivery) -> bytes:
    members = {
        "lock": str(each.lock),
        "delivery": str(each.lock.delivery),
        "attempt": each.attempt,
        "trigger": each.cause,
    }
    return b'%b, "event": %b}' % (encode_text(members)[:-1], each.event)
