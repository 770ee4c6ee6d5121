"""Structured mode: an event that is one JSON object, alone or in a batch."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events.attributes import (
    FLAT_VERSIONS,
    OPTIONAL_0_1,
    REQUIRED_0_1,
    VERSION,
    VERSION_0_1,
    attribute_problems,
    base64_bytes,
)
from pacifica.notifications.events.schemas import EVENT_0_1
from pacifica.notifications.schema import Schema

#: The media types of an event and of a batch of events in JSON (JSON format, sections 3 and 4).
EVENT_TYPE = "application/cloudevents+json"
BATCH_TYPE = "application/cloudevents-batch+json"

_SCHEMA = Schema(EVENT_0_1)
_MOST_PROBLEMS = 20


def structured_event(document: Any, *, names_version: bool) -> tuple[dict[str, Any], str]:
    """Return an event as it is kept, and its version; empty where it names none.

    An event of 0.3 or 1.0 loses the attributes that are null, which counts as unset; one of 0.1
    gets empty `extensions` where it has none. An object that names no version is returned as it is,
    unless `names_version`. Raises InvalidInput with each member that is wrong.
    """
    if not isinstance(document, dict):
        raise InvalidInput(("body", "must be a JSON object"))
    if VERSION in document:
        return _flat(document)
    if VERSION_0_1 in document:
        return _nested(document)
    if names_version:
        raise InvalidInput((VERSION, "is required"))
    return document, ""


def structured_batch(documents: Sequence[Any]) -> Sequence[tuple[dict[str, Any], str]]:
    """Return the events of a batch as they are kept, and their version, which is the same for all.

    It is the first event's (HTTP binding, section 3.3.2). Raises InvalidInput; the names of members
    begin with the number of the event that they belong to, as in `0.source`.
    """
    accepted: list[tuple[dict[str, Any], str]] = []
    problems = []
    for number, document in enumerate(documents):
        try:
            event, version = structured_event(document, names_version=True)
            if accepted and version != accepted[0][1]:
                named = VERSION_0_1 if version == "0.1" else VERSION
                raise InvalidInput((named, "must be that of the first event of the batch"))
            accepted.append((event, version))
        except InvalidInput as error:
            problems += [(_within(number, field), reason) for field, reason in error.problems]
        if len(problems) >= _MOST_PROBLEMS:
            break
    if problems:
        raise InvalidInput(*problems[:_MOST_PROBLEMS])
    return accepted


def _within(number: int, field: str) -> str:
    return str(number) if field == "body" else f"{number}.{field}"


def _flat(document: dict[str, Any]) -> tuple[dict[str, Any], str]:
    version = document[VERSION]
    if VERSION_0_1 in document:
        raise InvalidInput((VERSION, f"must not stand beside {VERSION_0_1}"))
    if not isinstance(version, str) or version not in FLAT_VERSIONS:
        raise InvalidInput((VERSION, f"must be {' or '.join(map(repr, FLAT_VERSIONS))}"))
    if problems := tuple(islice(_flat_problems(document, version), _MOST_PROBLEMS)):
        raise InvalidInput(*problems)
    kept = {name: value for name, value in document.items() if value is not None or name == "data"}
    if version == "0.3" and "datacontentencoding" in kept:
        if isinstance(kept.get("data"), str):
            # Lines may be broken (RFC 2045, section 6.8), which nobody needs to know any more.
            kept["data"] = "".join(kept["data"].split())
        else:
            # It must be ignored where data is no text (spec 0.3, section 3).
            del kept["datacontentencoding"]
    return kept, version


def _flat_problems(document: dict[str, Any], version: str) -> Iterator[tuple[str, str]]:
    yield from attribute_problems(document, version)
    if version == "0.3":
        text = document.get("data")
        if document.get("datacontentencoding") is not None and isinstance(text, str):
            yield from _base64_problems("data", "".join(text.split()))
    elif (encoded := document.get("data_base64")) is not None:
        if "data" in document:
            yield "data_base64", "must not stand beside data"
        yield from _base64_problems("data_base64", encoded)


def _base64_problems(member: str, value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, str):
        yield member, "must be a string"
        return
    try:
        base64_bytes(value)
    except ValueError as error:
        yield member, str(error)


def _nested(document: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if not _is_sound(document):
        _SCHEMA.check(document)
    return {**document, "extensions": document.get("extensions") or {}}, "0.1"


def _is_sound(document: dict[str, Any]) -> bool:
    """Tell at a glance that an event breaks no rule; the schema takes ten times as long to."""
    return (
        document[VERSION_0_1] == "0.1"
        and all(isinstance(text := document.get(name), str) and text for name in REQUIRED_0_1)
        and all(isinstance(document.get(name), str | None) for name in OPTIONAL_0_1)
        and isinstance(document.get("extensions"), dict | None)
    )
