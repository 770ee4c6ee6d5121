"""`/eventmatch`: a caller's own subscriptions, and the format of their events."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import cherrypy
from cherrypy.lib.httputil import parse_query_string

from pacifica.notifications.jsontext import read_json
from pacifica.notifications.rest import listing, mailtargets
from pacifica.notifications.rest.admission import get_remote_user, require_proxy
from pacifica.notifications.rest.body import read_body
from pacifica.notifications.rest.context import KEY, Context, context
from pacifica.notifications.rest.deliveries import Deliveries
from pacifica.notifications.rest.errors import ApiError, answering_errors, encode_text
from pacifica.notifications.rest.explain import Explain
from pacifica.notifications.rest.listing import shown
from pacifica.notifications.rest.pull import Pull
from pacifica.notifications.rest.replays import Replays
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.rest.revisions import Revisions
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.rest.testdelivery import TestDelivery
from pacifica.notifications.store import subscriptions
from pacifica.notifications.subscriptions import (
    SUBSCRIPTION_SCHEMA,
    Channel,
    delivery_format_changes,
    new_subscription,
    subscription_changes,
    unmasked,
)

T = TypeVar("T")

_METHODS = {1: ("GET", "HEAD", "POST"), 2: ("DELETE", "GET", "HEAD", "PUT")}
_FORMAT_METHODS = {3: ("GET", "HEAD", "PUT")}


class EventMatch:
    """Create, read, change and delete subscriptions."""

    exposed = True
    json_schema = SUBSCRIPTION_SCHEMA

    def __init__(self, shared: Context | None = None) -> None:
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.on_start_resource": require_proxy,
            "hooks.before_handler": partial(require_known, _METHODS, listing.PARAMETERS),
        }

    def _cp_dispatch(self, vpath: list[str]) -> Any:
        """Return the resource below a subscription; CherryPy calls it."""
        resource = _RESOURCES.get(vpath[1]) if len(vpath) > 1 else None
        if resource is None:
            return None
        uuid, _ = vpath.pop(0), vpath.pop(0)
        return resource(uuid)

    @answering_errors
    def GET(self, event_uuid: str | None = None) -> bytes | Iterator[bytes]:  # noqa: N802
        """Return one subscription, all of the caller's, or a page, oldest first."""
        user = get_remote_user()
        if event_uuid is None:
            parameters = parse_query_string(cherrypy.request.query_string)
            return listing.page(user, parameters) if parameters else listing.complete(user)
        return encode_text(shown(read(user, uuid_of(event_uuid))))

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802
        """Create a subscription and return it."""
        return encode_text(shown(create(get_remote_user(), _body())))

    @answering_errors
    def PUT(self, event_uuid: str) -> bytes:  # noqa: N802
        """Change the fields of a subscription that the body names, and return it."""
        return encode_text(shown(change(get_remote_user(), uuid_of(event_uuid), _body())))

    @answering_errors
    def DELETE(self, event_uuid: str) -> bytes:  # noqa: N802
        """Mark a subscription as deleted and return an empty body."""
        delete(get_remote_user(), uuid_of(event_uuid))
        return b""


class DeliveryFormat:
    """Read and change the CloudEvents version and mode in which events are sent."""

    exposed = True
    _cp_config = {  # noqa: RUF012
        "hooks.on_start_resource": require_proxy,
        "hooks.before_handler": partial(require_known, _FORMAT_METHODS),
    }

    def __init__(self, event_uuid: str) -> None:
        self._event_uuid = event_uuid

    @answering_errors
    def GET(self) -> bytes:  # noqa: N802
        """Return the delivery format of a subscription."""
        user = get_remote_user()
        return encode_text(_found(subscriptions.delivery_format(user, uuid_of(self._event_uuid))))

    @answering_errors
    def PUT(self) -> bytes:  # noqa: N802
        """Change the fields of the delivery format that the body names."""
        user, uuid = get_remote_user(), uuid_of(self._event_uuid)
        changed = subscriptions.change_delivery_format(user, uuid, delivery_format_changes(_body()))
        return encode_text(_found(changed))


_RESOURCES: dict[str, Callable[[str], Any]] = {
    "deliveries": Deliveries,
    "delivery": DeliveryFormat,
    "explain": Explain,
    "pull": Pull,
    "replays": Replays,
    "revisions": Revisions,
    "test": TestDelivery,
}


def read(user: str, uuid: UUID) -> dict[str, Any]:
    """Return a user's subscription; refuse (403) one that the user does not have."""
    return _found(subscriptions.one_of_user(user, uuid))


def create(user: str, body: Any) -> dict[str, Any]:
    """Create a subscription from a body and return it; raises InvalidInput with its fields.

    The target may be asked to agree, which takes as long as a delivery.
    """
    limits = context().settings.eventmatch
    columns = new_subscription(_unmasked(body, {}), user, limits.jsonpath_max_length)
    is_agreed = require_target(columns["target_url"], columns["auth"], user)
    created = subscriptions.create(columns, limits.max_subscriptions)
    return created if is_agreed else mailtargets.wait_for_address(created)


def change(user: str, uuid: UUID, body: Any) -> dict[str, Any]:
    """Change what a body names of a user's subscription and return it, as `create` does."""
    changes = partial(_changes, body=body)
    is_agreed = True
    if isinstance(body, dict) and body.keys() & {"target_url", "auth", "disabled"}:
        stored = read(user, uuid)
        after = {**stored, **(changed := changes(stored))}
        is_mail = Channel.of(after["target_url"]) is Channel.MAIL
        if "target_url" in changed or (is_mail and after["disabled"] is None and changed):
            is_agreed = require_target(after["target_url"], after["auth"], user)
    updated = _found(subscriptions.update(user, uuid, changes))
    return updated if is_agreed else mailtargets.wait_for_address(updated)


def require_target(url: str, auth: Any, user: str) -> bool:
    """Refuse a target that cannot be used; return False for an address that has not agreed."""
    if Channel.of(url) is Channel.MAIL:
        return mailtargets.require(url, auth, user)
    context().targets.require(url, auth, user)
    return True


def delete(user: str, uuid: UUID) -> None:
    """Mark a user's subscription as deleted; refuse (403) one that the user does not have."""
    _found(subscriptions.delete(user, uuid) or None)


def _body() -> Any:
    """Return the JSON value of the request's body; raises InvalidInput."""
    limits = context().settings.eventmatch
    return read_json(read_body(limits.max_body), limits.max_depth)


def _found(subscription: T | None) -> T:
    """Refuse (403) an absent subscription: unknown, deleted or another user's alike."""
    if subscription is None:
        raise ApiError(403, "there is no such subscription of yours")
    return subscription


def _changes(stored: dict[str, Any], body: Any) -> dict[str, Any]:
    max_length = context().settings.eventmatch.jsonpath_max_length
    return subscription_changes(stored, _unmasked(body, stored), max_length)


def _unmasked(body: Any, stored: dict[str, Any]) -> Any:
    """Return a body with the stored secrets in place of masks, if masking is on."""
    return unmasked(body, stored) if context().settings.security.mask_auth else body
