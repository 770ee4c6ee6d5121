"""What attributes the events of each version of CloudEvents have, and what may stand in them."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pacifica.notifications.events.mediatypes import is_media_type

#: The versions whose attributes and extensions are members of one object, by the same rules.
FLAT_VERSIONS: Final = ("0.3", "1.0")
VERSIONS: Final = ("0.1", *FLAT_VERSIONS)
#: The member that names the version of an event: of 0.1, and of all later ones.
VERSION_0_1: Final = "cloudEventsVersion"
VERSION: Final = "specversion"

REQUIRED: Final = ("id", "source", "specversion", "type")
REQUIRED_0_1: Final = ("eventType", "source", "eventID")
OPTIONAL_0_1: Final = ("eventTypeVersion", "eventTime", "schemaURL", "contentType")
#: The members of an event that hold its data, and so are no attributes.
DATA_MEMBERS: Final = frozenset({"data", "data_base64"})

_INTEGERS = range(-(2**31), 2**31)
_NAME = re.compile("[a-z0-9]+")
_NAME_0_3 = re.compile("[a-z][a-z0-9]*")
_LONGEST_QUOTE = 64
_MOMENT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|[+-](\d\d):(\d\d))", re.ASCII
)
# The last two code points of each plane are no characters, as are 32 in the first.
_NO_CHARACTERS = "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NO_CHARACTERS}]")


def attribute_problems(event: Mapping[str, Any], version: str) -> Iterator[tuple[str, str]]:
    """Give each member of a 0.3 or 1.0 event that breaks a rule, and which (spec, section 3).

    Members that are null count as unset. What `data` holds is not looked at.
    """
    for name in REQUIRED:
        if event.get(name) is None:
            yield name, "is required"
    rules = _RULES[version]
    for name, value in event.items():
        if name in DATA_MEMBERS and (name == "data" or version == "1.0"):
            continue
        if problem := name_problem(name, version):
            yield quoted(name), problem
        elif value is not None:
            rule = rules.get(name)
            problem = rule(value) if rule else value_problem(value, version)
            if problem:
                yield name, problem


def context_attributes(version: str) -> frozenset[str]:
    """Return the names that version 0.3 or 1.0 itself gives a meaning."""
    return frozenset(_RULES[version])


def extension_problem(name: str, value: Any, version: str) -> str | None:
    """Say what keeps an extension from being an attribute of a 0.3 or 1.0 event; None: nothing."""
    if name in _RULES[version] or name in DATA_MEMBERS:
        return f"is an attribute of CloudEvents {version} itself"
    return name_problem(name, version) or value_problem(value, version)


def name_problem(name: str, version: str) -> str | None:
    """Say what is wrong with an attribute's name (spec, Naming Conventions); None: nothing."""
    if version == "0.3":
        if not _NAME_0_3.fullmatch(name):
            return "must be lower-case letters and digits, the first one a letter"
    elif not _NAME.fullmatch(name):
        return "must be lower-case letters and digits"
    return None


def value_problem(value: Any, version: str) -> str | None:
    """Say what is wrong with an extension's value (spec, Type System); None: nothing.

    In 0.3 extensions are of the type Any, which JSON has as any value.
    """
    if isinstance(value, str):
        return text_problem(value)
    if version == "0.3" or isinstance(value, bool):
        return None
    if not isinstance(value, int):
        return "must be a string, a boolean or a whole number"
    return None if value in _INTEGERS else "must be a number of 32 bits"


def text_problem(value: Any) -> str | None:
    """Say what is wrong with an attribute of the type String; None: nothing."""
    if not isinstance(value, str):
        return "must be a string"
    return "has characters that are not allowed" if _FORBIDDEN.search(value) else None


def quoted(name: str) -> str:
    """Return a name as errors tell it: in printable ASCII, and not too much of it."""
    return ascii(name[:_LONGEST_QUOTE])[1:-1] or "''"


def is_timestamp(text: str) -> bool:
    """Tell whether a text is a date and time with its offset (RFC 3339, section 5.6)."""
    found = _MOMENT.fullmatch(text)
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


def base64_bytes(text: str) -> bytes:
    """Return what a Base64 text encodes (RFC 4648, section 4); raises ValueError."""
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (Base64Error, UnicodeEncodeError) as error:
        raise ValueError("must be Base64") from error


def _non_empty(value: Any) -> str | None:
    return text_problem(value) or (None if value else "must not be empty")


def _moment(value: Any) -> str | None:
    well = isinstance(value, str) and is_timestamp(value)
    return None if well else "must be a date and time with its offset, as RFC 3339 has it"


def _media_type(value: Any) -> str | None:
    well = isinstance(value, str) and is_media_type(value)
    return None if well else "must be a media type"


def _encoding(value: Any) -> str | None:
    well = isinstance(value, str) and value.lower() == "base64"
    return None if well else "must be base64"


_Rule = Callable[[Any], str | None]
_COMMON: dict[str, _Rule] = {
    "id": _non_empty,
    "source": _non_empty,
    "specversion": _non_empty,
    "type": _non_empty,
    "datacontenttype": _media_type,
    "subject": _non_empty,
    "time": _moment,
}
_RULES: Mapping[str, Mapping[str, _Rule]] = {
    "0.3": {**_COMMON, "datacontentencoding": _encoding, "schemaurl": _non_empty},
    "1.0": {**_COMMON, "dataschema": _non_empty},
}
