"""Structured mode: an event as one JSON object, alone or in a batch."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events.attributes import (
    FLAT_VERSIONS,
    OPTIONAL_0_1,
    REQUIRED_0_1,
    SPECVERSION,
    SPECVERSION_0_1,
    attribute_problems,
    decode_base64,
)
from pacifica.notifications.events.http_binding import EVENT_MEDIA_TYPE, Message
from pacifica.notifications.events.schemas import EVENT_SCHEMA_0_1
from pacifica.notifications.validation import Schema

_SCHEMA = Schema(EVENT_SCHEMA_0_1)
_MAX_PROBLEMS = 20


def structured_event(document: Any, *, require_version: bool) -> tuple[dict[str, Any], str]:
    """Return an event in its stored form, and its version; empty if it names none.

    An event of 0.3 or 1.0 loses the attributes that are null, because null means unset. An event
    of 0.1 gets empty `extensions` if it has none. An object without a version is returned
    unchanged, or refused if `require_version`. Raises InvalidInput with each invalid member.
    """
    if not isinstance(document, dict):
        raise InvalidInput(("body", "must be a JSON object"))
    if SPECVERSION in document:
        return _flat_event(document)
    if SPECVERSION_0_1 in document:
        return _event_0_1(document)
    if require_version:
        raise InvalidInput((SPECVERSION, "is required"))
    return document, ""


def structured_batch(documents: Sequence[Any]) -> Sequence[tuple[dict[str, Any], str]]:
    """Return the events of a batch in their stored form, each with its version.

    All must have the version of the first (HTTP binding, section 3.3.2). Raises InvalidInput; the
    names of fields begin with the index of their event, as in `0.source`.
    """
    events: list[tuple[dict[str, Any], str]] = []
    problems: list[tuple[str, str]] = []
    for index, document in enumerate(documents):
        try:
            event, version = structured_event(document, require_version=True)
            if events and version != events[0][1]:
                member = SPECVERSION_0_1 if version == "0.1" else SPECVERSION
                raise InvalidInput((member, "must be that of the first event of the batch"))
            events.append((event, version))
        except InvalidInput as error:
            problems += [
                (str(index) if field == "body" else f"{index}.{field}", reason)
                for field, reason in error.problems
            ]
        if len(problems) >= _MAX_PROBLEMS:
            break
    if problems:
        raise InvalidInput(*problems[:_MAX_PROBLEMS])
    return events


def structured_message(version: str, body: bytes) -> Message:
    """Return the message that carries an event in its JSON form (HTTP binding, section 3.2).

    Targets have always received events of 0.1, and objects without a version, as plain JSON.
    """
    content_type = EVENT_MEDIA_TYPE if version in FLAT_VERSIONS else "application/json"
    return Message((("Content-Type", content_type),), body)


def _flat_event(document: dict[str, Any]) -> tuple[dict[str, Any], str]:
    version = document[SPECVERSION]
    if SPECVERSION_0_1 in document:
        raise InvalidInput((SPECVERSION, f"must not be given together with {SPECVERSION_0_1}"))
    if not isinstance(version, str) or version not in FLAT_VERSIONS:
        raise InvalidInput((SPECVERSION, f"must be {' or '.join(map(repr, FLAT_VERSIONS))}"))
    if problems := tuple(islice(_flat_problems(document, version), _MAX_PROBLEMS)):
        raise InvalidInput(*problems)
    event = {name: value for name, value in document.items() if value is not None or name == "data"}
    if version == "0.3" and "datacontentencoding" in event:
        if isinstance(event.get("data"), str):
            # The text may have line breaks (RFC 2045, section 6.8), which carry no information.
            event["data"] = "".join(event["data"].split())
        else:
            # It must be ignored if the data is not a text (spec 0.3, section 3).
            del event["datacontentencoding"]
    return event, version


def _flat_problems(document: dict[str, Any], version: str) -> Iterator[tuple[str, str]]:
    yield from attribute_problems(document, version)
    if version == "0.3":
        text = document.get("data")
        if document.get("datacontentencoding") is not None and isinstance(text, str):
            yield from _base64_problems("data", "".join(text.split()))
    elif (encoded := document.get("data_base64")) is not None:
        if "data" in document:
            yield "data_base64", "must not be given together with data"
        yield from _base64_problems("data_base64", encoded)


def _base64_problems(member: str, value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, str):
        yield member, "must be a string"
        return
    try:
        decode_base64(value)
    except ValueError as error:
        yield member, str(error)


def _event_0_1(document: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if not _is_valid_0_1(document):
        _SCHEMA.check(document)
    return {**document, "extensions": document.get("extensions") or {}}, "0.1"


def _is_valid_0_1(document: dict[str, Any]) -> bool:
    """Return whether an event follows its schema, ten times faster than the schema."""
    return (
        document[SPECVERSION_0_1] == "0.1"
        and all(isinstance(text := document.get(name), str) and text for name in REQUIRED_0_1)
        and all(isinstance(document.get(name), str | None) for name in OPTIONAL_0_1)
        and isinstance(document.get("extensions"), dict | None)
    )
