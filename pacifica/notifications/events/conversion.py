"""Events of one version of CloudEvents as those of another, with all that the other can say."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from string import digits
from typing import Any

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events.attributes import (
    DATA_MEMBERS,
    OPTIONAL_0_1,
    VERSION,
    VERSION_0_1,
    VERSIONS,
    base64_bytes,
    context_attributes,
    extension_problem,
    is_timestamp,
    quoted,
    text_problem,
    value_problem,
)
from pacifica.notifications.events.mediatypes import is_json_type, is_media_type
from pacifica.notifications.jsontext import read_json, write_json

# What the attributes of 0.1 are called in 1.0.
_NAMES_0_1 = {
    "eventType": "type",
    "source": "source",
    "eventID": "id",
    "eventTime": "time",
    "schemaURL": "dataschema",
    "contentType": "datacontenttype",
}
_MEMBERS_0_1 = frozenset({*_NAMES_0_1, VERSION_0_1, "extensions", "data"})
_ATTRIBUTES = ("type", "source", "id", "time", "subject", "dataschema", "datacontenttype")
# Attributes of which 0.1 takes any text: what they are as extensions, and what others take.
# Metadata's times have no offset, and whatever one is invented would be wrong somewhere.
_FORMER: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "time": ("eventtime", is_timestamp),
    "dataschema": ("schemaurl", lambda value: text_problem(value) is None),
    "datacontenttype": ("contenttype", is_media_type),
}
_SCHEMA = {"0.3": "schemaurl", "1.0": "dataschema"}
_ENCODING = "datacontentencoding"
# Before the name of an extension that is an attribute's in the other version.
_TAKEN = "ext"
_NO_NAME = re.compile("[^a-z0-9]")
_DEEPEST = 100


@dataclass(frozen=True)
class Parts:
    """What an event consists of, by the names of 1.0, whichever version it has.

    `data` is a tuple of its value, empty where there is none; `encoded` tells that it is Base64.
    """

    attributes: Mapping[str, Any]
    extensions: Mapping[str, Any]
    data: tuple[Any, ...]
    encoded: bool = False


def converted(event: Mapping[str, Any], version: str, wanted: str) -> Mapping[str, Any]:
    """Return an event of a version as one of the wanted version.

    What has no place there goes as an extension: a name that is not allowed loses the characters
    that are not, one that is an attribute's gets `ext` before it, and where two become one, that
    which needed no change counts, or else the first. A value of no allowed type becomes its JSON
    text. Raises ValueError for a version that there is not.
    """
    if version == wanted:
        return event
    parts = parts_of(event, version)
    if wanted == "0.1":
        return _of_0_1(parts)
    if wanted in VERSIONS:
        return _flat(parts, wanted)
    raise ValueError(f"there is no version {quoted(wanted)} of CloudEvents")


def with_extensions(
    event: Mapping[str, Any], version: str, extensions: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return an event with a subscription's extensions laid over its own; the subscription's win.

    The merge is shallow. Raises ValueError for one that the event's version does not allow.
    """
    if not extensions:
        return event
    if version not in _SCHEMA:
        own = event.get("extensions")
        merged = {**own, **extensions} if isinstance(own, dict) else dict(extensions)
        return {**event, "extensions": merged}
    for name, problem in extension_problems(extensions, version):
        raise ValueError(f"its extension {quoted(name)} {problem} (CloudEvents {version})")
    return {**event, **extensions}


def extension_problems(extensions: Mapping[str, Any], version: str) -> Iterator[tuple[str, str]]:
    """Give each extension that events of a version cannot have, and why; 0.1 can have any."""
    if version in _SCHEMA:
        for name, value in extensions.items():
            if problem := extension_problem(name, value, version):
                yield name, problem


def parts_of(event: Mapping[str, Any], version: str) -> Parts:
    """Take an event of a version apart; raises ValueError for a version that there is not."""
    if version == "0.1":
        return _parts_0_1(event)
    if version not in _SCHEMA:
        raise ValueError(f"there is no version {quoted(version)} of CloudEvents")
    given = {name: value for name, value in event.items() if value is not None}
    renamed = {_SCHEMA[version]: "dataschema"}
    names = context_attributes(version) - {VERSION, _ENCODING}
    attributes = {renamed.get(name, name): given[name] for name in given if name in names}
    known = context_attributes(version) | DATA_MEMBERS
    extensions = {name: value for name, value in given.items() if name not in known}
    if version == "1.0" and "data_base64" in given:
        return Parts(attributes, extensions, (given["data_base64"],), encoded=True)
    encoded = version == "0.3" and _ENCODING in given and isinstance(event.get("data"), str)
    return Parts(attributes, extensions, _data(event), encoded)


def _parts_0_1(event: Mapping[str, Any]) -> Parts:
    own = event.get("extensions")
    # Other members than those of the specification are extensions in the wrong place.
    others = {name: value for name, value in event.items() if name not in _MEMBERS_0_1}
    extensions = {**others, **(own if isinstance(own, dict) else {})}
    attributes = {flat: event[name] for name, flat in _NAMES_0_1.items() if event.get(name)}
    subject = extensions.get("subject")
    if subject and text_problem(subject) is None:
        attributes["subject"] = extensions.pop("subject")
    data = _data(event)
    encoded = extensions.get(_ENCODING) == "base64" and _is_base64(data)
    if encoded:
        del extensions[_ENCODING]
    return Parts(attributes, extensions, data, encoded)


def _of_0_1(parts: Parts) -> dict[str, Any]:
    attributes, extensions = parts.attributes, dict(parts.extensions)
    event: dict[str, Any] = {VERSION_0_1: "0.1"}
    for name, flat in _NAMES_0_1.items():
        if flat in attributes:
            event[name] = attributes[flat]
    for name in OPTIONAL_0_1:
        if name not in event and isinstance(extensions.get(name.lower()), str):
            event[name] = extensions.pop(name.lower())
    if "subject" in attributes:
        extensions["subject"] = attributes["subject"]
    data, encoded = parts.data, parts.encoded
    if encoded and is_json_type(attributes.get("datacontenttype", "")):
        data, encoded = _decoded(data[0])
    if encoded:
        extensions[_ENCODING] = "base64"
    event["extensions"] = extensions
    if data:
        event["data"] = data[0]
    return event


def _flat(parts: Parts, version: str) -> dict[str, Any]:
    event: dict[str, Any] = {VERSION: version}
    extensions = dict(parts.extensions)
    for name in _ATTRIBUTES:
        if name not in parts.attributes:
            continue
        value = parts.attributes[name]
        former, is_allowed = _FORMER.get(name, ("", _anything))
        if is_allowed(value):
            event[_SCHEMA[version] if name == "dataschema" else name] = value
        else:
            extensions.setdefault(former, value)
    event |= _renamed(extensions, version)
    if parts.data and not parts.encoded:
        event["data"] = parts.data[0]
    elif parts.data and version == "1.0":
        event["data_base64"] = parts.data[0]
    elif parts.data:
        event |= {_ENCODING: "base64", "data": parts.data[0]}
    return event


def _renamed(extensions: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return extensions as a version allows them."""
    taken = context_attributes(version) | DATA_MEMBERS
    renamed: dict[str, Any] = {}
    for original, value in sorted(
        extensions.items(), key=lambda each: _allowed(each[0], version) != each[0]
    ):
        name = _allowed(original, version)
        if name in taken:
            name = _TAKEN + name
        if name and value is not None and name not in renamed:
            renamed[name] = write_json(value) if value_problem(value, version) else value
    return renamed


def _anything(_value: str) -> bool:
    return True


def _allowed(name: str, version: str) -> str:
    letters = _NO_NAME.sub("", name.lower())
    return letters.lstrip(digits) if version == "0.3" else letters


def _data(event: Mapping[str, Any]) -> tuple[Any, ...]:
    return (event["data"],) if "data" in event else ()


def _is_base64(data: tuple[Any, ...]) -> bool:
    if not data or not isinstance(data[0], str):
        return False
    try:
        base64_bytes(data[0])
    except ValueError:
        return False
    return True


def _decoded(text: str) -> tuple[tuple[Any, ...], bool]:
    """Return the value of JSON in Base64, or the Base64 itself, and whether it is that."""
    try:
        return (read_json(base64_bytes(text), _DEEPEST),), False
    except (ValueError, InvalidInput):
        return (text,), True
