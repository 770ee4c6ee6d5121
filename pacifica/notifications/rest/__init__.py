"""The REST API: subscriptions at `/eventmatch`, events at `/receive`."""

from pacifica.notifications.rest.admission import get_remote_user
from pacifica.notifications.rest.errors import encode_text, error_page_default
from pacifica.notifications.rest.eventmatch import EventMatch
from pacifica.notifications.rest.receive import ReceiveEvent
from pacifica.notifications.rest.root import Root

__all__ = [
    "EventMatch",
    "ReceiveEvent",
    "Root",
    "encode_text",
    "error_page_default",
    "get_remote_user",
]
