"""The REST API: subscriptions at `/eventmatch`, events at `/receive`."""

from pacifica.notifications.rest.caller import get_remote_user
from pacifica.notifications.rest.errors import error_page_default
from pacifica.notifications.rest.eventmatch import EventMatch
from pacifica.notifications.rest.receive import ReceiveEvent
from pacifica.notifications.rest.root import Root
from pacifica.notifications.rest.text import encode_text

__all__ = [
    "EventMatch",
    "ReceiveEvent",
    "Root",
    "encode_text",
    "error_page_default",
    "get_remote_user",
]
