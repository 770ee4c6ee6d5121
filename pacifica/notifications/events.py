"""Events: what is accepted as one, and the form in which it is stored, matched and sent on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.jsontext import read_json, write_json
from pacifica.notifications.schemas import EVENT_0_1, Schema

_SCHEMA = Schema(EVENT_0_1)
_REQUIRED = EVENT_0_1["required"]
_OPTIONAL = ("eventTypeVersion", "eventTime", "schemaURL", "contentType")
_OTHER_VERSION = "specversion"
#: The request header that counts the services like this one on an event's way.
HOPS_HEADER = "Pacifica-Notifications-Hops"


@dataclass(frozen=True)
class Event:
    """One received event: the id it is found by, and its JSON text (ASCII).

    `hops` is how many services like this one it came through, as their header says; `version` that
    of CloudEvents in which it came, empty where it names none.
    """

    uuid: UUID
    text: str
    hops: int = 0
    version: str = ""

    @cached_property
    def encoded(self) -> bytes:
        """The text as bytes, which all requests that carry it unchanged share."""
        return self.text.encode()

    def document(self) -> dict[str, Any]:
        """Return the event as JSON values, a fresh copy each time."""
        return json.loads(self.text)


def parse_event(body: bytes, max_depth: int, hops: int = 0) -> Event:
    """Return the event of a request body.

    An object that names `cloudEventsVersion` must be a CloudEvent of version 0.1 (its required
    attributes are eventType, source and eventID) and gets empty `extensions` where it has none; one
    that names no version is taken as it is.
    Raises InvalidInput with the field that is wrong.
    """
    document = read_json(body, max_depth)
    if not isinstance(document, dict):
        raise InvalidInput(("body", "must be a JSON object"))
    if _OTHER_VERSION in document:
        raise InvalidInput((_OTHER_VERSION, "is not supported; send cloudEventsVersion 0.1"))
    if "cloudEventsVersion" in document:
        if not _is_sound(document):
            _SCHEMA.check(document)
        document["extensions"] = document.get("extensions") or {}
    return Event(uuid4(), write_json(document), hops, document.get("cloudEventsVersion", ""))


def _is_sound(document: dict[str, Any]) -> bool:
    """Tell at a glance that an event breaks no rule; the schema takes ten times as long to."""
    return (
        document["cloudEventsVersion"] == "0.1"
        and all(isinstance(text := document.get(name), str) and text for name in _REQUIRED)
        and all(isinstance(document.get(name), str | None) for name in _OPTIONAL)
        and isinstance(document.get("extensions"), dict | None)
    )


def delivered_text(event_text: str, extensions: Mapping[str, Any]) -> str:
    """Return an event's text with a subscription's extensions laid over its own.

    The merge is shallow, and the subscription's win. Without any, the text is the stored one.
    """
    if not extensions:
        return event_text
    document = json.loads(event_text)
    own = document.get("extensions")
    merged = {**own, **extensions} if isinstance(own, dict) else dict(extensions)
    return write_json({**document, "extensions": merged})
