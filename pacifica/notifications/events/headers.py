"""Attributes as values of HTTP headers: percent-encoded UTF-8 (HTTP binding, section 3.1.3.2)."""

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from pacifica.notifications.events.attributes import text_problem
from pacifica.notifications.jsontext import write_json

#: What the names of headers begin with that carry attributes.
PREFIX = "ce-"

_ENCODED = re.compile("[^!#$&-~]+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_BROKEN = re.compile("%(?![0-9A-Fa-f]{2})")


def encode_value(value: Any) -> str:
    """Return an attribute's value as a header has it, in printable ASCII without blanks.

    Raises ValueError for text that UTF-8 cannot have: a lone surrogate.
    """
    return _ENCODED.sub(_percent, canonical_text(value))


def canonical_text(value: Any) -> str:
    """Return a value's canonical string (spec, Type System); an object of 0.3 as JSON."""
    return value if isinstance(value, str) else write_json(value)


def decode_value(value: str) -> str:
    """Return the text of a header's value, which WSGI hands over as Latin-1 (PEP 3333).

    A double-quoted value is unescaped (RFC 9110, section 5.6.4), and then percent-decoded once.
    Raises ValueError, whose message completes a sentence that begins with the header's name.
    """
    value = value.strip(" \t")
    if found := _QUOTED.fullmatch(value):
        value = _ESCAPED.sub(r"\1", found[1])
    text = percent_decoded(value)
    if problem := text_problem(text):
        raise ValueError(problem)
    return text


def percent_decoded(value: str) -> str:
    """Return the text that a header's value encodes; raises ValueError as `decode_value` does."""
    if _BROKEN.search(value):
        raise ValueError("has a percent sign that encodes nothing; send %25")
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode("utf-8")
    except UnicodeError as error:
        raise ValueError("is not UTF-8") from error


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())
