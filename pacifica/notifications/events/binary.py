"""Binary mode: an event whose attributes are HTTP headers, and whose data is the body."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from json import dumps
from typing import Any

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events.attributes import (
    DATA_MEMBERS,
    FLAT_VERSIONS,
    OPTIONAL_0_1,
    REQUIRED,
    REQUIRED_0_1,
    SPECVERSION,
    SPECVERSION_0_1,
    decode_base64,
    is_media_type,
    printable_name,
)
from pacifica.notifications.events.conversion import EventParts, split_event
from pacifica.notifications.events.http_binding import (
    HEADER_PREFIX,
    Message,
    charset_codec,
    decode_header_value,
    encode_header_value,
    is_json_type,
    percent_decode,
    percent_encode,
    text_codec,
)
from pacifica.notifications.events.structured import structured_event
from pacifica.notifications.jsontext import is_deeper, read_json, write_json

#: Header names without `ce-`: a request with any of them is in binary mode.
BINARY_MODE_HEADERS = frozenset(
    name.lower() for name in (*REQUIRED, *REQUIRED_0_1, SPECVERSION_0_1)
)

_NAMES_0_1 = {name.lower(): name for name in (SPECVERSION_0_1, *REQUIRED_0_1, *OPTIONAL_0_1)}
_EXTENSION_PREFIXES_0_1 = ("x-", "extensions-")

# Receivers recognize structured mode by this prefix (HTTP binding, section 3).
_STRUCTURED_PREFIX = "application/cloudevents"
# Servers refuse requests with larger headers; uWSGI's default is the smallest limit. In bytes.
_MAX_HEADERS_SIZE = 3072
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ENCODED_0_1 = re.compile("[^ -~]+|%")


def binary_event(
    headers: Mapping[str, str], content_type: str, body: bytes, max_depth: int
) -> tuple[dict[str, Any], str]:
    """Return the structured form of an event in binary mode, and its version.

    `headers` are the headers that begin with `ce-`, by lower-case name without this prefix, with
    values as in WSGI. The data is JSON if the content type declares JSON. It is text if the content
    type declares text and its character set can decode the body. Otherwise it is Base64. Without a
    content type, the data is JSON if the body is valid JSON. An empty body means no data. Raises
    InvalidInput with each invalid header.
    """
    if SPECVERSION_0_1.lower() in headers:
        version, event = "0.1", _read_attributes_0_1(headers, content_type, max_depth)
    else:
        version, event = _read_attributes(headers, content_type)
    event |= _read_data(body, content_type, max_depth, version)
    if is_deeper(event, max_depth):
        raise InvalidInput(("body", f"is nested more than {max_depth} deep"))
    try:
        return structured_event(event, require_version=True)
    except InvalidInput as error:
        problems = [(_source_of(field), reason) for field, reason in error.problems]
        raise InvalidInput(*problems) from error


def binary_message(version: str, event: Mapping[str, Any]) -> Message | None:
    """Return the message that carries an event in binary mode (HTTP binding, section 3.1).

    Returns None if binary mode cannot carry the event: it has no data, and a request must have a
    body (HTTP webhook, section 2.1); its data does not fit its content type; its attributes are too
    large for headers; or it is of 0.1 and has a name that is no header name.
    """
    try:
        content_type, body = _write_data(split_event(event, version))
        write = _write_attributes_0_1 if version == "0.1" else _write_attributes
        headers = tuple(write(version, event))
    except ValueError:
        return None
    names = {name.lower() for name, _ in headers}
    size = sum(len(name) + len(value) for name, value in headers)
    if not body or size > _MAX_HEADERS_SIZE or len(names) < len(headers):
        return None
    return Message((("Content-Type", content_type), *headers), body)


def _read_attributes(headers: Mapping[str, str], content_type: str) -> tuple[str, dict[str, Any]]:
    """Return the version and the attributes of a 0.3 or 1.0 event."""
    event: dict[str, Any] = _decode_headers(
        headers, {"datacontenttype"}, lambda _name, value: decode_header_value(value)
    )
    version = event.get(SPECVERSION, "")
    if version not in FLAT_VERSIONS:
        problem = f"must be {' or '.join(FLAT_VERSIONS)}" if version else "is required"
        raise InvalidInput((_source_of(SPECVERSION), problem))
    if version == "0.3":
        # It describes data in JSON; in binary mode the body is the data (0.3, section 3).
        event.pop("datacontentencoding", None)
    return version, event | ({"datacontenttype": content_type} if content_type else {})


def _read_attributes_0_1(
    headers: Mapping[str, str], content_type: str, max_depth: int
) -> dict[str, Any]:
    """Return the attributes of a 0.1 event; values may be JSON (0.1, section 3.1.3)."""
    if SPECVERSION in headers:
        problem = f"must not be given together with {_source_of(SPECVERSION_0_1)}"
        raise InvalidInput((_source_of(SPECVERSION), problem))

    def decode(name: str, value: str) -> Any:
        text = percent_decode(value)
        if name in _NAMES_0_1 and not text.startswith('"'):
            return text
        try:
            return read_json(text.encode(), max_depth)
        except InvalidInput as error:
            if text.startswith('"'):
                raise ValueError("begins with a quote but is not a JSON string") from error
            return text

    event: dict[str, Any] = {}
    extensions: dict[str, Any] = {}
    for name, value in _decode_headers(headers, {"contenttype"}, decode).items():
        if name in _NAMES_0_1:
            event[_NAMES_0_1[name]] = value
        else:
            prefix = next((each for each in _EXTENSION_PREFIXES_0_1 if name.startswith(each)), "")
            extension = name.removeprefix(prefix)
            if extension in extensions:
                problem = "names the same extension as another header"
                raise InvalidInput((f"{HEADER_PREFIX}{printable_name(name)}", problem))
            extensions[extension] = value
    event |= {"contentType": content_type} if content_type else {}
    return event | {"extensions": extensions}


def _decode_headers(
    headers: Mapping[str, str], forbidden: set[str], decode: Callable[[str, str], Any]
) -> dict[str, Any]:
    values, problems = {}, []
    for name, value in headers.items():
        header = f"{HEADER_PREFIX}{printable_name(name)}"
        if name in DATA_MEMBERS or name in forbidden:
            problems.append((header, "must not be sent"))
        elif "\0" in value:  # databases refuse it
            problems.append((header, "must not have a NUL character"))
        else:
            try:
                values[name] = decode(name, value)
            except ValueError as error:
                problems.append((header, str(error)))
    if problems:
        raise InvalidInput(*problems)
    return values


def _read_data(body: bytes, content_type: str, max_depth: int, version: str) -> dict[str, Any]:
    """Return the members of an event with its data."""
    if not body:
        return {}
    if is_json_type(content_type):
        return {"data": read_json(body, max_depth)}
    # A body that does not fit its content type is carried as bytes.
    with suppress(InvalidInput, UnicodeError):
        if not content_type:
            return {"data": read_json(body, max_depth)}
        if codec := text_codec(content_type):
            return {"data": body.decode(codec)}
    encoded = b64encode(body).decode()
    if version == "1.0":
        return {"data_base64": encoded}
    return {"data": encoded, **({"datacontentencoding": "base64"} if version == "0.3" else {})}


def _source_of(member: str) -> str:
    """Return the name of the header, or `body`, that a member of an event comes from."""
    if member in ("datacontenttype", "contentType"):
        return "Content-Type"
    if member in DATA_MEMBERS or member == "body":
        return "body"
    return f"{HEADER_PREFIX}{member.lower()}"


def _write_data(parts: EventParts) -> tuple[str, bytes]:
    """Return an event's content type and body, or raise ValueError if it has none.

    Binary mode cannot carry such an event.
    """
    (data,) = parts.data
    # A tab may separate parameters, but must not be sent in a header.
    content_type = parts.attributes.get("datacontenttype", "").replace("\t", " ")
    if content_type.lower().startswith(_STRUCTURED_PREFIX) or (
        content_type and not is_media_type(content_type)
    ):
        raise ValueError("the content type is invalid, or means structured mode")
    if parts.is_base64:
        return content_type or "application/octet-stream", decode_base64(data)
    codec = charset_codec(content_type)
    if codec is None:
        raise ValueError("the character set is unknown")
    if not content_type or is_json_type(content_type):
        # This JSON is ASCII, which has the same bytes in every character set.
        return content_type or "application/json", write_json(data).encode()
    if not isinstance(data, str):
        raise ValueError("the data is neither JSON nor text")
    return content_type, data.encode(codec)


def _write_attributes(version: str, event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    omitted = {*DATA_MEMBERS, "datacontenttype"}
    if version == "0.3":
        omitted.add("datacontentencoding")  # the body is the data itself (0.3, section 3)
    for name, value in event.items():
        if name not in omitted and value is not None:
            yield f"{HEADER_PREFIX}{name}", encode_header_value(value)


def _write_attributes_0_1(_version: str, event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield attributes as headers with JSON values (0.1, HTTP transport, section 3.1.3)."""
    attributes = [
        (f"CE-{name[:1].upper()}{name[1:]}", value)
        for name, value in event.items()
        if name not in ("contentType", "data", "extensions") and value is not None
    ]
    extensions = [(f"CE-X-{name}", value) for name, value in event["extensions"].items()]
    for name, value in attributes + extensions:
        if not _TOKEN.fullmatch(name):
            raise ValueError("no header can have this name")
        text = dumps(value, ensure_ascii=False, allow_nan=False)
        yield name, percent_encode(_ENCODED_0_1, text)
