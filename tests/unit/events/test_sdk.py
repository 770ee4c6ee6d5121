"""Our reading beside that of the CloudEvents SDK, where the SDK is right."""

import base64
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cloudevents.core.bindings import http
from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.v03.event import CloudEvent as CloudEvent03
from cloudevents.core.v1.event import CloudEvent
from dateutil.parser import isoparse
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.events import Event, parse_binary, parse_event
from pacifica.notifications.events.attributes import text_problem
from pacifica.notifications.events.headers import encode_value
from pacifica.notifications.events.mediatypes import is_json_type

DEPTH = 100
TEXTS = st.text(max_size=20).filter(lambda text: text_problem(text) is None)
FILLED = TEXTS.filter(bool)
TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)).map(
    lambda moment: moment.replace(tzinfo=UTC).isoformat().replace("+00:00", "Z")
)
KINDS = st.sampled_from(["application/json", "text/plain", "image/png", "text/a+json"])
OWN = st.from_regex("own[a-z0-9]{1,8}", fullmatch=True)
#: Without what Python's own JSON cannot read or write again, and the SDK uses that.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXTS
    | st.floats(allow_nan=False).filter(math.isfinite),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
VERSIONS = st.sampled_from(["0.3", "1.0"])


@st.composite
def attributes(draw: Any, values: Any) -> dict[str, Any]:
    """Make the attributes of a valid event; those that are optional may be there."""
    version = draw(VERSIONS)
    required = {name: draw(FILLED) for name in ("id", "source", "type")}
    optional = {"subject": FILLED, "time": TIMES, "datacontenttype": KINDS}
    optional["dataschema" if version == "1.0" else "schemaurl"] = FILLED
    some = draw(st.fixed_dictionaries({}, optional=optional))
    own = draw(st.dictionaries(OWN, values, max_size=3))
    return {"specversion": version, **required, **some, **own}


def comparable(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give attributes with the time as a moment, and without how JSON has the data."""
    kept = {name: value for name, value in given.items() if name != "datacontentencoding"}
    time = kept.pop("time", None)
    if time is not None:
        kept["time"] = time if isinstance(time, datetime) else isoparse(time)
    return kept


def ours(event: Event) -> tuple[dict[str, Any], Any]:
    """Give the attributes and the data of an event that we read; bytes where it is Base64."""
    document = event.document()
    data = document.pop("data", None)
    if "data_base64" in document:
        data = base64.b64decode(document.pop("data_base64"))
    elif document.get("datacontentencoding"):
        data = base64.b64decode(data)
    return comparable(document), data


def theirs(message: HTTPMessage) -> tuple[dict[str, Any], Any]:
    """Give the attributes and the data of an event that the SDK reads."""
    event = http.from_http_event(message)
    return comparable(event.get_attributes()), event.get_data()


def read(message: HTTPMessage) -> Event:
    """Read a message of the SDK as `/receive` does."""
    headers = {name.lower(): value for name, value in message.headers.items()}
    kind = headers.pop("content-type", "")
    named = {name.removeprefix("ce-"): value for name, value in headers.items()}
    if not named:
        return parse_event(message.body, DEPTH, names_version=True)
    return parse_binary(named, kind, message.body, DEPTH)


def without_invented_time(document: Mapping[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """Leave out the time that the SDK gives to an event that has none."""
    return {name: value for name, value in named.items() if name != "time" or "time" in document}


@given(attributes(TEXTS | st.booleans() | st.integers(-(2**31), 2**31 - 1)), JSON)
def test_structured_event_is_what_the_sdk_reads(document: dict[str, Any], data: Any) -> None:
    body = json.dumps({**document, "data": data}).encode()
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, body)
    named, value = theirs(message)
    assert ours(read(message)) == (without_invented_time(document, named), value)


@given(attributes(TEXTS), st.binary())
def test_structured_event_of_bytes_is_what_the_sdk_reads(
    document: dict[str, Any], data: bytes
) -> None:
    encoded = base64.b64encode(data).decode()
    if document["specversion"] == "1.0":
        event = {**document, "data_base64": encoded}
    else:
        event = {**document, "datacontentencoding": "base64", "data": encoded}
    body = json.dumps(event).encode()
    message = HTTPMessage({"content-type": "application/cloudevents+json"}, body)
    named, value = theirs(message)
    assert ours(read(message)) == (without_invented_time(document, named), value)


def bytes_of(data: str | bytes | None) -> bytes:
    """Give the bytes of data that is no JSON, however somebody read them."""
    return data.encode() if isinstance(data, str) else data or b""


@given(attributes(TEXTS), JSON, st.binary())
def test_binary_event_is_what_the_sdk_reads(
    document: dict[str, Any], value: Any, data: bytes
) -> None:
    kind = document.get("datacontenttype")
    body = json.dumps(value).encode() if kind and is_json_type(kind) else data
    headers = {
        f"ce-{name}": encode_value(document[name]) for name in document if name != "datacontenttype"
    }
    if kind:
        headers["content-type"] = kind
    message = HTTPMessage(headers, body)
    named, their_data = theirs(message)
    event = read(message)
    our_named, our_data = ours(event)
    assert our_named == without_invented_time(document, named)
    if kind and is_json_type(kind):
        assert our_data == their_data == value
    elif kind:
        # The SDK has text wherever it is UTF-8, and we where it is said to be text.
        assert bytes_of(our_data) == bytes_of(their_data) == body
    elif not isinstance(our_data, bytes):
        assert our_data == their_data


def made(document: dict[str, Any], data: Any) -> Any:
    """Make an event of the SDK."""
    given = dict(document)
    if "time" in given:
        given["time"] = isoparse(given["time"])
    return (CloudEvent if given["specversion"] == "1.0" else CloudEvent03)(given, data)


#: What the SDK writes as it should: of texts it makes no JSON, nor in binary mode of lists.
WRITTEN = st.dictionaries(TEXTS, JSON, max_size=3) | st.binary(min_size=1)


@given(attributes(TEXTS | st.integers(-(2**31), 2**31 - 1)), WRITTEN)
def test_what_the_sdk_writes_in_structured_mode_is_the_same_event(
    document: dict[str, Any], data: Any
) -> None:
    kind = document.get("datacontenttype")
    if isinstance(data, dict) and kind and not is_json_type(kind):
        document = {**document, "datacontenttype": "application/json"}
    sent = made(document, data)
    named, value = ours(read(http.to_structured_event(sent)))
    assert named == comparable(sent.get_attributes())
    assert value == data


@given(attributes(TEXTS), WRITTEN)
def test_what_the_sdk_writes_in_binary_mode_is_the_same_event(
    document: dict[str, Any], data: Any
) -> None:
    kind = "application/json" if isinstance(data, dict) else "application/octet-stream"
    sent = made({**document, "datacontenttype": kind}, data)
    named, value = ours(read(http.to_binary_event(sent)))
    assert named == comparable(sent.get_attributes())
    assert value == data
