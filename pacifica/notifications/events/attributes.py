"""The attributes of CloudEvents 0.1, 0.3 and 1.0: names and allowed values."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

#: The versions that keep attributes and extensions side by side in one flat object.
FLAT_VERSIONS: Final = ("0.3", "1.0")
VERSIONS: Final = ("0.1", *FLAT_VERSIONS)
#: The name of the member that holds an event's version: in 0.3 and later, and in 0.1.
SPECVERSION: Final = "specversion"
SPECVERSION_0_1: Final = "cloudEventsVersion"

REQUIRED: Final = ("id", "source", "specversion", "type")
REQUIRED_0_1: Final = ("eventType", "source", "eventID")
OPTIONAL_0_1: Final = ("eventTypeVersion", "eventTime", "schemaURL", "contentType")
#: The members of an event that hold its data, and are therefore not attributes.
DATA_MEMBERS: Final = frozenset({"data", "data_base64"})

_INTEGERS = range(-(2**31), 2**31)
_NAME = re.compile("[a-z0-9]+")
_NAME_0_3 = re.compile("[a-z][a-z0-9]*")
_MAX_PRINTED_NAME = 64
_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-](\d\d):(\d\d))", re.ASCII
)
# RFC 2045, section 5.1: a type and a subtype. The reader of the data checks any parameters.
_WORD = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}[ \t]*(;[\t -~]*)?")
# Unicode reserves the last two code points of each plane, and 32 more in the first plane.
_NONCHARACTERS = "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]")


def attribute_problems(event: Mapping[str, Any], version: str) -> Iterator[tuple[str, str]]:
    """Yield name and problem of each invalid member of a 0.3 or 1.0 event.

    The rules are in section 3 of the specification. A member that is null counts as unset. The
    content of `data` is not checked.
    """
    for name in REQUIRED:
        if event.get(name) is None:
            yield name, "is required"
    rules = _RULES[version]
    for name, value in event.items():
        if name in DATA_MEMBERS and (name == "data" or version == "1.0"):
            continue
        if problem := name_problem(name, version):
            yield printable_name(name), problem
        elif value is not None:
            rule = rules.get(name)
            problem = rule(value) if rule else value_problem(value, version)
            if problem:
                yield name, problem


def context_attributes(version: str) -> frozenset[str]:
    """Return the names of the attributes that version 0.3 or 1.0 itself defines."""
    return frozenset(_RULES[version])


def extension_problem(name: str, value: Any, version: str) -> str | None:
    """Return why a 0.3 or 1.0 event cannot have an extension; None if it can."""
    if name in _RULES[version] or name in DATA_MEMBERS:
        return f"is an attribute of CloudEvents {version} itself"
    return name_problem(name, version) or value_problem(value, version)


def name_problem(name: str, version: str) -> str | None:
    """Return the problem of an attribute's name, or None (spec, Naming Conventions)."""
    if version == "0.3":
        if not _NAME_0_3.fullmatch(name):
            return "must be lower-case letters and digits, the first one a letter"
    elif not _NAME.fullmatch(name):
        return "must be lower-case letters and digits"
    return None


def value_problem(value: Any, version: str) -> str | None:
    """Return the problem of an extension's value, or None (spec, Type System).

    Extensions of 0.3 have the type Any: every JSON value is allowed.
    """
    if isinstance(value, str):
        return text_problem(value)
    if version == "0.3" or isinstance(value, bool):
        return None
    if not isinstance(value, int):
        return "must be a string, a boolean or a whole number"
    return None if value in _INTEGERS else "must be a 32-bit integer"


def text_problem(value: Any) -> str | None:
    """Return the problem of a String attribute's value, or None."""
    if not isinstance(value, str):
        return "must be a string"
    return "has characters that are not allowed" if _FORBIDDEN.search(value) else None


def printable_name(name: str) -> str:
    """Return a name for an error message: escaped to printable ASCII, and shortened."""
    return ascii(name[:_MAX_PRINTED_NAME])[1:-1] or "''"


def is_timestamp(text: str) -> bool:
    """Return whether a text is a date and time with an offset (RFC 3339, 5.6)."""
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        return False
    year, month, day, hour, minute, second = map(int, found.group(1, 2, 3, 4, 5, 6))
    offset_hour, offset_minute = (int(part or 0) for part in found.group(9, 10))
    return (
        1 <= month <= 12
        and 1 <= day <= monthrange(year, month)[1]
        and max(hour, offset_hour) <= 23
        and max(minute, offset_minute) <= 59
        and second <= 60  # a leap second
    )


def is_media_type(text: str) -> bool:
    """Return whether a text is a media type, with or without parameters (RFC 2046)."""
    return bool(_MEDIA_TYPE.fullmatch(text))


def decode_base64(text: str) -> bytes:
    """Return the bytes of a Base64 text (RFC 4648, section 4), or raise ValueError."""
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (Base64Error, UnicodeEncodeError) as error:
        raise ValueError("must be Base64") from error


_Rule = Callable[[Any], str | None]


def _non_empty(value: Any) -> str | None:
    return text_problem(value) or (None if value else "must not be empty")


def _text_rule(is_valid: Callable[[str], bool], problem: str) -> _Rule:
    return lambda value: None if isinstance(value, str) and is_valid(value) else problem


_COMMON: dict[str, _Rule] = {
    "id": _non_empty,
    "source": _non_empty,
    "specversion": _non_empty,
    "type": _non_empty,
    "datacontenttype": _text_rule(is_media_type, "must be a media type"),
    "subject": _non_empty,
    "time": _text_rule(is_timestamp, "must be a date and time with an offset (RFC 3339)"),
}
_RULES: Mapping[str, Mapping[str, _Rule]] = {
    "0.3": {
        **_COMMON,
        "datacontentencoding": _text_rule(lambda text: text.lower() == "base64", "must be base64"),
        "schemaurl": _non_empty,
    },
    "1.0": {**_COMMON, "dataschema": _non_empty},
}
