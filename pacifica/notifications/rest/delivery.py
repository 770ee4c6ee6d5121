"""`/eventmatch/UUID/delivery`: how one of a caller's subscriptions wants its events."""

from functools import partial

from pacifica.notifications.rest.admission import admit
from pacifica.notifications.rest.caller import get_remote_user
from pacifica.notifications.rest.errors import answering_errors
from pacifica.notifications.rest.own import body, found, uuid_in
from pacifica.notifications.rest.paths import require_known
from pacifica.notifications.rest.text import encode_text
from pacifica.notifications.store import subscriptions
from pacifica.notifications.subscriptions import delivery_changes

_METHODS = {3: ("GET", "HEAD", "PUT")}


class DeliveryFormat:
    """Read and change in which version of CloudEvents, and which mode, events are sent."""

    exposed = True
    _cp_config = {  # noqa: RUF012
        "hooks.on_start_resource": admit,
        "hooks.before_handler": partial(require_known, _METHODS),
    }

    def __init__(self, event_uuid: str) -> None:
        self._event_uuid = event_uuid

    @answering_errors
    def GET(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return how a subscription wants its events."""
        user = get_remote_user()
        return encode_text(found(subscriptions.delivery_format(user, uuid_in(self._event_uuid))))

    @answering_errors
    def PUT(self) -> bytes:  # noqa: N802
        """Change what the body names of how a subscription wants its events."""
        user, uuid = get_remote_user(), uuid_in(self._event_uuid)
        changed = subscriptions.change_delivery_format(user, uuid, delivery_changes(body()))
        return encode_text(found(changed))
