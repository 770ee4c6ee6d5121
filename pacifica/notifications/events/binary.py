"""Binary mode: an event whose attributes are HTTP headers, and whose data is the body."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events.attributes import (
    DATA_MEMBERS,
    FLAT_VERSIONS,
    OPTIONAL_0_1,
    REQUIRED,
    REQUIRED_0_1,
    VERSION,
    VERSION_0_1,
    quoted,
)
from pacifica.notifications.events.headers import PREFIX, decode_value, percent_decoded
from pacifica.notifications.events.mediatypes import is_json_type, text_codec
from pacifica.notifications.events.structured import structured_event
from pacifica.notifications.jsontext import is_deeper, read_json

_NAMES_0_1 = {name.lower(): name for name in (VERSION_0_1, *REQUIRED_0_1, *OPTIONAL_0_1)}
#: Names of headers, without prefix: a request that has any of them is in binary mode.
TELLING = frozenset(name.lower() for name in (*REQUIRED, *REQUIRED_0_1, VERSION_0_1))

_CONTENT_TYPE = "Content-Type"
_INFIXES_0_1 = ("x-", "extensions-")
# What our own web server puts between the values of a header that was given twice.
_REPEATED = "\0"


def binary_event(
    headers: Mapping[str, str], content_type: str, body: bytes, max_depth: int
) -> tuple[dict[str, Any], str]:
    """Return the structured form of an event in binary mode, and its version.

    `headers` are those that begin with `ce-`, by their names without it, in lower case; values are
    as WSGI has them. Data is JSON where its content type says so, text where it is text that its
    character set can have, and Base64 otherwise; where no content type is given, JSON if it is
    JSON. An empty body is no data. Raises InvalidInput with each header that is wrong.
    """
    if VERSION_0_1.lower() in headers:
        event = _nested(headers, content_type, max_depth)
        event |= _data(body, content_type, max_depth, "0.1")
    else:
        event, version = _flat(headers, content_type)
        event |= _data(body, content_type, max_depth, version)
    if is_deeper(event, max_depth):
        raise InvalidInput(("body", f"is nested more than {max_depth} deep"))
    try:
        return structured_event(event, names_version=True)
    except InvalidInput as error:
        problems = [(_header_of(field), reason) for field, reason in error.problems]
        raise InvalidInput(*problems) from error


def _flat(headers: Mapping[str, str], content_type: str) -> tuple[dict[str, Any], str]:
    """Return the attributes of an event of 0.3 or 1.0, and its version."""
    event: dict[str, Any] = _decoded(headers, {"datacontenttype"}, lambda _name, value: value)
    version = event.get(VERSION, "")
    if version not in FLAT_VERSIONS:
        wanted = f"must be {' or '.join(FLAT_VERSIONS)}" if version else "is required"
        raise InvalidInput((_header_of(VERSION), wanted))
    if version == "0.3":
        # It is about data as a text of JSON; here data comes as it is (spec 0.3, section 3).
        event.pop("datacontentencoding", None)
    return event | ({"datacontenttype": content_type} if content_type else {}), version


def _nested(headers: Mapping[str, str], content_type: str, max_depth: int) -> dict[str, Any]:
    """Return the attributes of an event of 0.1, whose values may be JSON (0.1, section 3.1.3)."""
    if VERSION in headers:
        other = _header_of(VERSION_0_1)
        raise InvalidInput((_header_of(VERSION), f"must not stand beside {other}"))

    def value_of(name: str, text: str) -> Any:
        if name in _NAMES_0_1 and not text.startswith('"'):
            return text
        try:
            return read_json(text.encode(), max_depth)
        except InvalidInput as error:
            if text.startswith('"'):
                raise ValueError("begins like a JSON text and is none") from error
            return text

    event: dict[str, Any] = {}
    extensions: dict[str, Any] = {}
    for name, value in _decoded(headers, {"contenttype"}, value_of, percent_decoded).items():
        if name in _NAMES_0_1:
            event[_NAMES_0_1[name]] = value
        else:
            infix = next((infix for infix in _INFIXES_0_1 if name.startswith(infix)), "")
            extension = name.removeprefix(infix)
            if extension in extensions:
                problem = "names an extension that another header names"
                raise InvalidInput((f"{PREFIX}{quoted(name)}", problem))
            extensions[extension] = value
    event |= {"contentType": content_type} if content_type else {}
    return event | {"extensions": extensions}


def _decoded(
    headers: Mapping[str, str],
    refused: set[str],
    value_of: Callable[[str, str], Any],
    text_of: Callable[[str], str] = decode_value,
) -> dict[str, Any]:
    values, problems = {}, []
    for name, value in headers.items():
        header = f"{PREFIX}{quoted(name)}"
        if name in DATA_MEMBERS or name in refused:
            problems.append((header, "must not be sent"))
        elif _REPEATED in value:
            problems.append((header, "must be given once"))
        else:
            try:
                values[name] = value_of(name, text_of(value))
            except ValueError as error:
                problems.append((header, str(error)))
    if problems:
        raise InvalidInput(*problems)
    return values


def _data(body: bytes, content_type: str, max_depth: int, version: str) -> dict[str, Any]:
    """Return the members of an event that have its data."""
    if not body:
        return {}
    if is_json_type(content_type):
        return {"data": read_json(body, max_depth)}
    if not content_type:
        try:
            return {"data": read_json(body, max_depth)}
        except InvalidInput:
            return _encoded(body, version)
    text = _text(body, content_type)
    return _encoded(body, version) if text is None else {"data": text}


def _text(body: bytes, content_type: str) -> str | None:
    """Return data as text; None where its content type says nothing of that, or is wrong."""
    codec = text_codec(content_type)
    if codec is None:
        return None
    try:
        return body.decode(codec)
    except UnicodeError:
        return None


def _encoded(body: bytes, version: str) -> dict[str, Any]:
    text = b64encode(body).decode()
    if version == "1.0":
        return {"data_base64": text}
    return {"data": text, **({"datacontentencoding": "base64"} if version == "0.3" else {})}


def _header_of(member: str) -> str:
    """Name the header, or the body, that a member of an event comes from."""
    if member in ("datacontenttype", "contentType"):
        return _CONTENT_TYPE
    if member in DATA_MEMBERS or member == "body":
        return "body"
    return f"{PREFIX}{member.lower()}"
