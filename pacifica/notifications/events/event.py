"""Events: what is accepted as one, and the form in which it is stored, matched and sent on."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

from pacifica.notifications.errors import BatchTooLong, InvalidInput
from pacifica.notifications.events.binary import binary_event
from pacifica.notifications.events.conversion import converted, with_extensions
from pacifica.notifications.events.messages import (
    BINARY,
    STRUCTURED,
    Message,
    binary_message,
    structured_message,
)
from pacifica.notifications.events.structured import structured_batch, structured_event
from pacifica.notifications.jsontext import read_json, write_json

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

    @cached_property
    def _messages(self) -> dict[tuple[str, str], Message]:
        """The messages that were made of it, by version and mode."""
        return {}

    def message(
        self, wanted: str = "", mode: str = STRUCTURED, extensions: Mapping[str, Any] | None = None
    ) -> Message:
        """Return what carries the event in a version of CloudEvents, empty for its own, and a mode.

        An object that names no version is sent as it is. `extensions` are a subscription's, which
        are laid over the event's own; without any, all requests share what is returned. Raises
        ValueError for extensions that the version does not allow.
        """
        if extensions:
            return self._made(wanted, mode, extensions)
        if (message := self._messages.get((wanted, mode))) is None:
            message = self._messages[wanted, mode] = self._made(wanted, mode, {})
        return message

    def _made(self, wanted: str, mode: str, extensions: Mapping[str, Any]) -> Message:
        version = self.version and (wanted or self.version)
        unchanged = version == self.version and not extensions
        if unchanged and (mode != BINARY or not version):
            return structured_message(version, self.encoded)
        event = converted(self.document(), self.version, version)
        event = with_extensions(event, version, extensions)
        if version and mode == BINARY and (made := binary_message(version, event)):
            return made
        return structured_message(version, write_json(event).encode())

    def document(self) -> dict[str, Any]:
        """Return the event as JSON values, a fresh copy each time."""
        return json.loads(self.text)


def parse_event(
    body: bytes, max_depth: int, hops: int = 0, *, names_version: bool = False
) -> Event:
    """Return the event of a request body: a CloudEvent of 0.1, 0.3 or 1.0 in structured mode.

    An object that names no version is taken as it is, unless `names_version`.
    Raises InvalidInput with each field that is wrong.
    """
    document = read_json(body, max_depth)
    return _event(*structured_event(document, names_version=names_version), hops)


def parse_binary(
    headers: Mapping[str, str], content_type: str, body: bytes, max_depth: int, hops: int = 0
) -> Event:
    """Return the event of a request in binary mode, as it is in structured mode.

    `headers` are the values of those that begin with `ce-`, by the rest of their names in lower
    case. Raises InvalidInput with each header that is wrong.
    """
    return _event(*binary_event(headers, content_type, body, max_depth), hops)


def parse_batch(body: bytes, max_depth: int, most: int, hops: int = 0) -> list[Event]:
    """Return the events of a batch, in order; each must name its version.

    Raises BatchTooLong where there are more than `most`, and InvalidInput with each field that is
    wrong, whose name begins with the number of its event.
    """
    documents = read_json(body, max_depth + 1)
    if not isinstance(documents, list):
        raise InvalidInput(("body", "must be a JSON array of events"))
    if len(documents) > most:
        raise BatchTooLong(most)
    return [_event(*accepted, hops) for accepted in structured_batch(documents)]


def identity(event: Event) -> tuple[str, str] | None:
    """Return source and id of an event, which no other event has; None where it has no version."""
    if not event.version:
        return None
    document = event.document()
    return document["source"], document["eventID" if event.version == "0.1" else "id"]


def _event(document: dict[str, Any], version: str, hops: int) -> Event:
    return Event(uuid4(), write_json(document), hops, version)
