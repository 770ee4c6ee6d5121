"""Events as HTTP messages: the headers that tell of them, and their bodies, in either mode."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from json import dumps
from typing import Any, Final

from pacifica.notifications.events.attributes import (
    DATA_MEMBERS,
    FLAT_VERSIONS,
    base64_bytes,
)
from pacifica.notifications.events.conversion import Parts, parts_of
from pacifica.notifications.events.headers import PREFIX, encode_value
from pacifica.notifications.events.mediatypes import codec_of, is_json_type, is_media_type
from pacifica.notifications.events.structured import EVENT_TYPE
from pacifica.notifications.jsontext import write_json

STRUCTURED: Final = "structured"
BINARY: Final = "binary"
MODES: Final = (STRUCTURED, BINARY)

_JSON = "application/json"
# By what a receiver tells structured mode from binary mode (HTTP binding, section 3).
_STRUCTURED_PREFIX = "application/cloudevents"
_BYTES = "application/octet-stream"
# Servers refuse requests with larger headers, uWSGI's default being the least; in bytes.
_MOST_OF_HEADERS = 3072
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ENCODED_0_1 = re.compile("[^ -~]+|%")


@dataclass(frozen=True)
class Message:
    """What a request needs to carry an event: headers, which tell the content type, and a body."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


def structured_message(version: str, body: bytes) -> Message:
    """Return an event in its JSON form (HTTP binding, section 3.2).

    Events of 0.1, and objects without a version, are plain JSON: targets have always had them so.
    """
    content_type = EVENT_TYPE if version in FLAT_VERSIONS else _JSON
    return Message((("Content-Type", content_type),), body)


def binary_message(version: str, event: Mapping[str, Any]) -> Message | None:
    """Return an event with its attributes as headers (HTTP binding, section 3.1).

    None where that cannot be: an event without data, as requests without a body are not allowed
    (HTTP webhook, section 2.1), data that its content type does not fit, and attributes that are
    too large, or of 0.1 that no header can have.
    """
    try:
        content_type, body = _payload(parts_of(event, version))
        named = _headers_0_1(event) if version == "0.1" else _headers(version, event)
        headers = tuple(named)
    except ValueError:
        return None
    names = {name.lower() for name, _ in headers}
    size = sum(len(name) + len(value) for name, value in headers)
    if not body or size > _MOST_OF_HEADERS or len(names) < len(headers):
        return None
    return Message((("Content-Type", content_type), *headers), body)


def _payload(parts: Parts) -> tuple[str, bytes]:
    """Return the content type and the data; raises ValueError where a request cannot have them."""
    (data,) = parts.data
    # A tab may separate parameters, and is not printable.
    declared = parts.attributes.get("datacontenttype", "").replace("\t", " ")
    if declared.lower().startswith(_STRUCTURED_PREFIX) or (
        declared and not is_media_type(declared)
    ):
        raise ValueError("a content type that would not be taken for that of data")
    if parts.encoded:
        return declared or _BYTES, base64_bytes(data)
    codec = codec_of(declared)
    if codec is None:
        raise ValueError("a character set that is not known")
    if not declared or is_json_type(declared):
        return declared or _JSON, write_json(data).encode()  # the same in all of them
    if not isinstance(data, str):
        raise ValueError("data that is neither JSON nor text")
    return declared, data.encode(codec)


def _headers(version: str, event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    elsewhere = {*DATA_MEMBERS, "datacontenttype"}
    if version == "0.3":
        elsewhere.add("datacontentencoding")  # the body is the data itself (0.3, section 3)
    for name, value in event.items():
        if name not in elsewhere and value is not None:
            yield f"{PREFIX}{name}", encode_value(value)


def _headers_0_1(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give attributes as headers, their values as JSON (0.1, HTTP transport, section 3.1.3)."""
    for name, value in event.items():
        if name not in ("contentType", "data", "extensions") and value is not None:
            yield _token(f"CE-{name[:1].upper()}{name[1:]}"), _json_value(value)
    for name, value in event["extensions"].items():
        yield _token(f"CE-X-{name}"), _json_value(value)


def _token(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("a name that no header can have")
    return name


def _json_value(value: Any) -> str:
    text = dumps(value, ensure_ascii=False, allow_nan=False)
    return _ENCODED_0_1.sub(_percent, text)


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode())
