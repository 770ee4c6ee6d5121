"""CloudEvents 0.1, 0.3 and 1.0 over HTTP, in structured, binary and batch mode.

A request is read by `event.parse_event`, `parse_batch` or `parse_binary`. These call `structured`
or `binary`, which check an event by the rules in `attributes` and `schemas`. The result is an
`Event`, which is stored as text. For sending, `Event.message` converts it by `conversion` to the
version of the subscription, and by `structured` or `binary` to a `Message`.
"""

from pacifica.notifications.events.attributes import VERSIONS, decode_base64, printable_name
from pacifica.notifications.events.binary import BINARY_MODE_HEADERS
from pacifica.notifications.events.conversion import extension_problems
from pacifica.notifications.events.event import (
    BINARY,
    HOPS_HEADER,
    MODES,
    STRUCTURED,
    Event,
    extended,
    identity,
    parse_batch,
    parse_binary,
    parse_event,
)
from pacifica.notifications.events.http_binding import (
    BATCH_MEDIA_TYPE,
    EVENT_MEDIA_TYPE,
    HEADER_PREFIX,
    Message,
    charset,
    is_json_type,
    media_type,
)
from pacifica.notifications.events.schemas import (
    EVENT_SCHEMA_0_1,
    EVENT_SCHEMA_0_3,
    EVENT_SCHEMA_1_0,
)
from pacifica.notifications.events.summary import EventSummary, summary

__all__ = [
    "BATCH_MEDIA_TYPE",
    "BINARY",
    "BINARY_MODE_HEADERS",
    "EVENT_MEDIA_TYPE",
    "EVENT_SCHEMA_0_1",
    "EVENT_SCHEMA_0_3",
    "EVENT_SCHEMA_1_0",
    "HEADER_PREFIX",
    "HOPS_HEADER",
    "MODES",
    "STRUCTURED",
    "VERSIONS",
    "Event",
    "EventSummary",
    "Message",
    "charset",
    "decode_base64",
    "extended",
    "extension_problems",
    "identity",
    "is_json_type",
    "media_type",
    "parse_batch",
    "parse_binary",
    "parse_event",
    "printable_name",
    "summary",
]
