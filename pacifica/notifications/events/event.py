"""Parses events from requests, and builds their stored and sent forms."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID, uuid4

from pacifica.notifications.errors import BatchTooLong, InvalidInput
from pacifica.notifications.events.binary import binary_event, binary_message
from pacifica.notifications.events.conversion import convert, with_extensions
from pacifica.notifications.events.http_binding import Message
from pacifica.notifications.events.structured import (
    structured_batch,
    structured_event,
    structured_message,
)
from pacifica.notifications.events.summary import EventSummary, summary
from pacifica.notifications.jsontext import read_json, write_json

#: The request header that counts how many notification services an event came through.
HOPS_HEADER: Final = "Pacifica-Notifications-Hops"
STRUCTURED: Final = "structured"
BINARY: Final = "binary"
#: The modes in which an event can be sent.
MODES: Final = (STRUCTURED, BINARY)


@dataclass(frozen=True)
class Event:
    """A received event: its id in this service, and its JSON text (ASCII).

    `hops` is the number of notification services that forwarded it, from its request. `version` is
    its version of CloudEvents; empty if it names none. `received` is when it was stored. `owner` is
    the only user who may see an event of the service's own. `summary` is known of an event that was
    just received.
    """

    uuid: UUID
    text: str
    hops: int = 0
    version: str = ""
    received: datetime | None = field(default=None, compare=False)
    owner: str | None = None
    summary: EventSummary = field(default=EventSummary(), compare=False)

    @cached_property
    def encoded(self) -> bytes:
        """The text as bytes, shared by all requests that carry the event unchanged."""
        return self.text.encode()

    @cached_property
    def _messages(self) -> dict[tuple[str, str], Message]:
        """The messages built so far, by version and mode."""
        return {}

    def message(
        self,
        version: str = "",
        mode: str = STRUCTURED,
        extensions: Mapping[str, Any] | None = None,
    ) -> Message:
        """Return the message that carries the event, in a version of CloudEvents and a mode.

        An empty `version` means the event's own. An object that names no version is sent unchanged.
        An event that binary mode cannot carry is sent in structured mode. `extensions` are those of
        a subscription, which override the event's own. Without them, all requests share one
        message. Raises EventUnsendable for extensions that the version does not allow.
        """
        if extensions:
            return self._build_message(version, mode, extensions)
        if (message := self._messages.get((version, mode))) is None:
            message = self._messages[version, mode] = self._build_message(version, mode, {})
        return message

    def _build_message(self, version: str, mode: str, extensions: Mapping[str, Any]) -> Message:
        version = self.version and (version or self.version)
        unchanged = version == self.version and not extensions
        if unchanged and (mode != BINARY or not version):
            return structured_message(version, self.encoded)
        event = convert(self.document(), self.version, version)
        event = with_extensions(event, version, extensions)
        if version and mode == BINARY and (message := binary_message(version, event)):
            return message
        return structured_message(version, write_json(event).encode())

    def document(self) -> dict[str, Any]:
        """Return the event as JSON values, a fresh copy each time."""
        return json.loads(self.text)


def parse_event(
    body: bytes, max_depth: int, hops: int = 0, *, require_version: bool = False
) -> Event:
    """Return the event of a request body: a CloudEvent of 0.1, 0.3 or 1.0 in structured mode.

    An object that names no version is accepted unchanged, or refused if `require_version`. Raises
    InvalidInput with each invalid field.
    """
    document = read_json(body, max_depth)
    return _event(*structured_event(document, require_version=require_version), hops)


def parse_binary(
    headers: Mapping[str, str], content_type: str, body: bytes, max_depth: int, hops: int = 0
) -> Event:
    """Return the event of a request in binary mode, in its structured form.

    `headers` are the headers that begin with `ce-`, by lower-case name without this prefix. Raises
    InvalidInput with each invalid header.
    """
    return _event(*binary_event(headers, content_type, body, max_depth), hops)


def parse_batch(body: bytes, max_depth: int, max_events: int, hops: int = 0) -> list[Event]:
    """Return the events of a batch, in order; each must name its version.

    Raises BatchTooLong for more than `max_events`, and InvalidInput with each invalid field. The
    names of fields begin with the index of their event.
    """
    documents = read_json(body, max_depth + 1)
    if not isinstance(documents, list):
        raise InvalidInput(("body", "must be a JSON array of events"))
    if len(documents) > max_events:
        raise BatchTooLong(max_events)
    return [_event(*event, hops) for event in structured_batch(documents)]


def extended(event: Event, extensions: Mapping[str, Any]) -> Event:
    """Return an event with extensions added to its own, in its own version.

    Raises EventUnsendable for an extension that the version does not allow.
    """
    document = with_extensions(event.document(), event.version, extensions)
    return replace(event, text=write_json(document))


def identity(event: Event) -> tuple[str, str] | None:
    """Return source and id, which identify an event; None for an event without a version."""
    if not event.version:
        return None
    document = event.document()
    return document["source"], document["eventID" if event.version == "0.1" else "id"]


def _event(document: dict[str, Any], version: str, hops: int) -> Event:
    return Event(uuid4(), write_json(document), hops, version, summary=summary(document))
