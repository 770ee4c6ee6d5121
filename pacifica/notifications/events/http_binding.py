"""The HTTP binding of events: content types, header values, and messages."""

import codecs
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from pacifica.notifications.events.attributes import text_problem
from pacifica.notifications.jsontext import write_json

#: The media types of an event and of a batch of events in JSON (JSON format, sections 3 and 4).
EVENT_MEDIA_TYPE: Final = "application/cloudevents+json"
BATCH_MEDIA_TYPE: Final = "application/cloudevents-batch+json"
#: The prefix of the headers that carry attributes in binary mode.
HEADER_PREFIX: Final = "ce-"

_PARAMETER = re.compile(
    r""";[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;]*)"""
)
# The Python codecs that are character sets of text on the network.
_CODECS = re.compile("utf-8|ascii|iso8859-[0-9]+|cp125[0-8]|koi8-[ru]|shift_jis|euc_(jp|kr)|gb.*")
_NOT_PRINTABLE = re.compile("[^!#$&-~]+")
_QUOTED_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_QUOTED_PAIR = re.compile(r"\\(.)")
_LONE_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Message:
    """An event as the headers and the body of a request.

    The headers include the content type.
    """

    headers: tuple[tuple[str, str], ...]
    body: bytes


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip(" \t").lower()


def charset(content_type: str) -> str:
    """Return a content type's character set in lower case; empty if it names none."""
    for name, value in _PARAMETER.findall(content_type):
        if name.lower() == "charset":
            return value.strip(' \t"').lower()
    return ""


def is_json_type(content_type: str) -> bool:
    """Return whether a content type is `*/json` or `*/*+json` (JSON format, 3.1.1)."""
    subtype = media_type(content_type).partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def text_codec(content_type: str) -> str | None:
    """Return the Python codec of text or XML; UTF-8 if the type names no charset.

    Returns None for a content type that is neither text nor XML, and for an unknown charset.
    """
    kind, _, subtype = media_type(content_type).partition("/")
    if kind != "text" and subtype != "xml" and not subtype.endswith("+xml"):
        return None
    return charset_codec(content_type)


def charset_codec(content_type: str) -> str | None:
    """Return the Python codec of a content type's charset, UTF-8 by default; None if unknown."""
    try:
        codec = codecs.lookup(charset(content_type) or "utf-8").name
    except (LookupError, ValueError):
        return None
    return codec if _CODECS.fullmatch(codec) else None


def encode_header_value(value: Any) -> str:
    """Return an attribute's value as a header value, in printable ASCII without spaces.

    This is the canonical string of the value (spec, Type System; an object of 0.3 as JSON), as
    percent-encoded UTF-8 (HTTP binding, section 3.1.3.2). Raises ValueError for a lone surrogate,
    which UTF-8 cannot encode.
    """
    text = value if isinstance(value, str) else write_json(value)
    return percent_encode(_NOT_PRINTABLE, text)


def decode_header_value(value: str) -> str:
    """Return the text of a header value, which WSGI decodes as Latin-1 (PEP 3333).

    A double-quoted value is unescaped (RFC 9110, section 5.6.4), and then percent-decoded once.
    Raises ValueError; its message completes a sentence that begins with the header's name.
    """
    value = value.strip(" \t")
    if found := _QUOTED_STRING.fullmatch(value):
        value = _QUOTED_PAIR.sub(r"\1", found[1])
    text = percent_decode(value)
    if problem := text_problem(text):
        raise ValueError(problem)
    return text


def percent_encode(characters: re.Pattern[str], text: str) -> str:
    """Percent-encode each match of a pattern as UTF-8; raise ValueError."""
    return characters.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)


def percent_decode(value: str) -> str:
    """Decode a percent-encoded value; raise ValueError like `decode_header_value`."""
    if _LONE_PERCENT.search(value):
        raise ValueError("has a percent sign without two hexadecimal digits; send %25 for it")
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode("utf-8")
    except UnicodeError as error:
        raise ValueError("is not UTF-8") from error
