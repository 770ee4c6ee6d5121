"""CloudEvents: versions 0.1, 0.3 and 1.0 in structured, binary and batch mode, in and out."""

from pacifica.notifications.events.event import (
    HOPS_HEADER,
    Event,
    identity,
    parse_batch,
    parse_binary,
    parse_event,
)

__all__ = ["HOPS_HEADER", "Event", "identity", "parse_batch", "parse_binary", "parse_event"]
