"""Converts events between versions of CloudEvents, without loss of information."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from string import digits
from typing import Any

from pacifica.notifications.errors import EventUnsendable, InvalidInput
from pacifica.notifications.events.attributes import (
    DATA_MEMBERS,
    OPTIONAL_0_1,
    SPECVERSION,
    SPECVERSION_0_1,
    VERSIONS,
    context_attributes,
    decode_base64,
    extension_problem,
    is_media_type,
    is_timestamp,
    printable_name,
    text_problem,
    value_problem,
)
from pacifica.notifications.events.http_binding import is_json_type
from pacifica.notifications.jsontext import read_json, write_json

# The names in 1.0 of the attributes of 0.1.
_NAMES_0_1 = {
    "eventType": "type",
    "source": "source",
    "eventID": "id",
    "eventTime": "time",
    "schemaURL": "dataschema",
    "contentType": "datacontenttype",
}
_MEMBERS_0_1 = frozenset({*_NAMES_0_1, SPECVERSION_0_1, "extensions", "data"})
_ATTRIBUTES = ("type", "source", "id", "time", "subject", "dataschema", "datacontenttype")
# For attributes that may be any text in 0.1: the extension for a value that later versions do not
# allow, and their check. Metadata's times have no offset, and any offset added here would be wrong
# somewhere.
_FALLBACKS: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "time": ("eventtime", is_timestamp),
    "dataschema": ("schemaurl", lambda value: text_problem(value) is None),
    "datacontenttype": ("contenttype", is_media_type),
}
_SCHEMA_NAMES = {"0.3": "schemaurl", "1.0": "dataschema"}
_ENCODING = "datacontentencoding"
# The prefix for an extension whose name is an attribute's name in the other version.
_CONFLICT_PREFIX = "ext"
_NOT_IN_NAMES = re.compile("[^a-z0-9]")
_MAX_DEPTH = 100


@dataclass(frozen=True)
class EventParts:
    """The parts of an event of any version; attribute names are those of 1.0.

    `data` has one value, or none if the event has no data. If `is_base64`, the value is Base64.
    """

    attributes: Mapping[str, Any]
    extensions: Mapping[str, Any]
    data: tuple[Any, ...]
    is_base64: bool = False


def convert(event: Mapping[str, Any], version: str, target_version: str) -> Mapping[str, Any]:
    """Return an event of one version as an event of another.

    An attribute that the target version does not have becomes an extension. Its name loses
    characters that are not allowed. An extension named like an attribute gets the prefix `ext`. If
    two extensions then have the same name, the one whose name was not changed is kept, or else the
    first. A value whose type is not allowed becomes its JSON text. Raises ValueError for an unknown
    version.
    """
    if version == target_version:
        return event
    parts = split_event(event, version)
    if target_version == "0.1":
        return _build_0_1(parts)
    if target_version in VERSIONS:
        return _build_flat(parts, target_version)
    raise _unknown(target_version)


def with_extensions(
    event: Mapping[str, Any], version: str, extensions: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return an event with a subscription's extensions, which override its own.

    The merge is shallow. Raises EventUnsendable for an extension that the event's version does not
    allow.
    """
    if not extensions:
        return event
    if version not in _SCHEMA_NAMES:
        own = event.get("extensions")
        merged = {**own, **extensions} if isinstance(own, dict) else dict(extensions)
        return {**event, "extensions": merged}
    for name, problem in extension_problems(extensions, version):
        raise EventUnsendable(
            f"its extension {printable_name(name)} {problem} (CloudEvents {version})"
        )
    return {**event, **extensions}


def extension_problems(extensions: Mapping[str, Any], version: str) -> Iterator[tuple[str, str]]:
    """Yield name and problem of each extension that a version forbids (0.1: none)."""
    if version in _SCHEMA_NAMES:
        for name, value in extensions.items():
            if problem := extension_problem(name, value, version):
                yield name, problem


def split_event(event: Mapping[str, Any], version: str) -> EventParts:
    """Return the parts of an event, or raise ValueError for an unknown version."""
    if version == "0.1":
        return _split_0_1(event)
    if version not in _SCHEMA_NAMES:
        raise _unknown(version)
    given = {name: value for name, value in event.items() if value is not None}
    renamed = {_SCHEMA_NAMES[version]: "dataschema"}
    names = context_attributes(version) - {SPECVERSION, _ENCODING}
    attributes = {renamed.get(name, name): given[name] for name in given if name in names}
    known = context_attributes(version) | DATA_MEMBERS
    extensions = {name: value for name, value in given.items() if name not in known}
    if version == "1.0" and "data_base64" in given:
        return EventParts(attributes, extensions, (given["data_base64"],), is_base64=True)
    is_base64 = version == "0.3" and _ENCODING in given and isinstance(event.get("data"), str)
    return EventParts(attributes, extensions, _data_of(event), is_base64)


def _split_0_1(event: Mapping[str, Any]) -> EventParts:
    own = event.get("extensions")
    # Members that the specification does not name are extensions in the wrong place.
    others = {name: value for name, value in event.items() if name not in _MEMBERS_0_1}
    extensions = {**others, **(own if isinstance(own, dict) else {})}
    attributes = {flat: event[name] for name, flat in _NAMES_0_1.items() if event.get(name)}
    subject = extensions.get("subject")
    if subject and text_problem(subject) is None:
        attributes["subject"] = extensions.pop("subject")
    data = _data_of(event)
    is_base64 = extensions.get(_ENCODING) == "base64" and _is_base64(data)
    if is_base64:
        del extensions[_ENCODING]
    return EventParts(attributes, extensions, data, is_base64)


def _build_0_1(parts: EventParts) -> dict[str, Any]:
    attributes, extensions = parts.attributes, dict(parts.extensions)
    event: dict[str, Any] = {SPECVERSION_0_1: "0.1"}
    for name, flat in _NAMES_0_1.items():
        if flat in attributes:
            event[name] = attributes[flat]
    for name in OPTIONAL_0_1:
        if name not in event and isinstance(extensions.get(name.lower()), str):
            event[name] = extensions.pop(name.lower())
    if "subject" in attributes:
        extensions["subject"] = attributes["subject"]
    data, is_base64 = parts.data, parts.is_base64
    if is_base64 and is_json_type(attributes.get("datacontenttype", "")):
        # Data that is not valid JSON stays Base64.
        with suppress(ValueError, InvalidInput):
            data, is_base64 = (read_json(decode_base64(data[0]), _MAX_DEPTH),), False
    if is_base64:
        extensions[_ENCODING] = "base64"
    event["extensions"] = extensions
    if data:
        event["data"] = data[0]
    return event


def _build_flat(parts: EventParts, version: str) -> dict[str, Any]:
    event: dict[str, Any] = {SPECVERSION: version}
    extensions = dict(parts.extensions)
    for name in _ATTRIBUTES:
        if name not in parts.attributes:
            continue
        value = parts.attributes[name]
        fallback, is_allowed = _FALLBACKS.get(name, ("", None))
        if is_allowed is None or is_allowed(value):
            event[_SCHEMA_NAMES[version] if name == "dataschema" else name] = value
        else:
            extensions.setdefault(fallback, value)
    event |= _allowed_extensions(extensions, version)
    if parts.data and not parts.is_base64:
        event["data"] = parts.data[0]
    elif parts.data and version == "1.0":
        event["data_base64"] = parts.data[0]
    elif parts.data:
        event |= {_ENCODING: "base64", "data": parts.data[0]}
    return event


def _allowed_extensions(extensions: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return extensions with names and values that a version allows."""
    reserved = context_attributes(version) | DATA_MEMBERS
    allowed: dict[str, Any] = {}
    # Names that need no change come first, so that they are the ones to be kept.
    for original, value in sorted(
        extensions.items(), key=lambda each: _allowed_name(each[0], version) != each[0]
    ):
        name = _allowed_name(original, version)
        if name in reserved:
            name = _CONFLICT_PREFIX + name
        if name and value is not None and name not in allowed:
            allowed[name] = write_json(value) if value_problem(value, version) else value
    return allowed


def _allowed_name(name: str, version: str) -> str:
    letters = _NOT_IN_NAMES.sub("", name.lower())
    return letters.lstrip(digits) if version == "0.3" else letters


def _data_of(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return (event["data"],) if "data" in event else ()


def _is_base64(data: tuple[Any, ...]) -> bool:
    if not data or not isinstance(data[0], str):
        return False
    try:
        decode_base64(data[0])
    except ValueError:
        return False
    return True


def _unknown(version: str) -> ValueError:
    return ValueError(f"there is no version {printable_name(version)} of CloudEvents")
