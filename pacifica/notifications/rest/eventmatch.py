"""`/eventmatch`: a caller's own subscriptions."""

from functools import partial
from typing import Any

from pacifica.notifications.rest.admission import admit
from pacifica.notifications.rest.caller import get_remote_user
from pacifica.notifications.rest.delivery import DeliveryFormat
from pacifica.notifications.rest.errors import answering_errors
from pacifica.notifications.rest.own import body, found, uuid_in
from pacifica.notifications.rest.paths import require_known
from pacifica.notifications.rest.service import settings
from pacifica.notifications.rest.targets import require_target
from pacifica.notifications.rest.text import encode_text
from pacifica.notifications.store import subscriptions
from pacifica.notifications.subscriptions import changes_to, new_subscription
from pacifica.notifications.subscriptions.masking import masked, unmasked
from pacifica.notifications.subscriptions.schemas import SUBSCRIPTION

_METHODS = {1: ("GET", "HEAD", "POST"), 2: ("DELETE", "GET", "HEAD", "PUT")}


class EventMatch:
    """Create, read, change and delete subscriptions."""

    exposed = True
    json_schema = SUBSCRIPTION
    _cp_config = {  # noqa: RUF012
        "hooks.on_start_resource": admit,
        "hooks.before_handler": partial(require_known, _METHODS),
    }

    def _cp_dispatch(self, vpath: list[str]) -> DeliveryFormat | None:
        """Return what is below a subscription, as CherryPy asks for it."""
        if len(vpath) == 2 and vpath[1] == "delivery":
            uuid, _ = vpath.pop(0), vpath.pop(0)
            return DeliveryFormat(uuid)
        return None

    @answering_errors
    def GET(self, event_uuid: str | None = None) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return one subscription, or all of the caller's, oldest first."""
        user = get_remote_user()
        if event_uuid is None:
            return encode_text([_shown(each) for each in subscriptions.of_user(user)])
        return encode_text(_shown(found(subscriptions.one_of_user(user, uuid_in(event_uuid)))))

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802
        """Create a subscription and return it."""
        user = get_remote_user()
        columns = new_subscription(
            _meant(body(), {}), user, settings().eventmatch.jsonpath_max_length
        )
        require_target(columns["target_url"], columns["auth"], user)
        return encode_text(
            _shown(subscriptions.create(columns, settings().eventmatch.max_subscriptions))
        )

    @answering_errors
    def PUT(self, event_uuid: str) -> bytes:  # noqa: N802
        """Change what the body names of a subscription and return it."""
        user, uuid = get_remote_user(), uuid_in(event_uuid)
        given = body()
        changes = partial(_changes, body=given)
        if isinstance(given, dict) and "target_url" in given:
            stored = found(subscriptions.one_of_user(user, uuid))
            if "target_url" in (changed := changes(stored)):
                require_target(changed["target_url"], changed.get("auth", stored["auth"]), user)
        return encode_text(_shown(found(subscriptions.update(user, uuid, changes))))

    @answering_errors
    def DELETE(self, event_uuid: str) -> bytes:  # noqa: N802
        """Mark a subscription deleted; the body is empty."""
        found(subscriptions.delete(get_remote_user(), uuid_in(event_uuid)) or None)
        return b""


def _changes(stored: dict[str, Any], body: Any) -> dict[str, Any]:
    return changes_to(stored, _meant(body, stored), settings().eventmatch.jsonpath_max_length)


def _meant(body: Any, stored: dict[str, Any]) -> Any:
    """Return a body without the masks that its sender may have read."""
    return unmasked(body, stored) if settings().security.mask_auth else body


def _shown(subscription: dict[str, Any]) -> dict[str, Any]:
    return masked(subscription) if settings().security.mask_auth else subscription
