"""Messages: the headers and the body that carry an event, in each version and mode."""

import json
from base64 import b64encode
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from dateutil.parser import isoparse
from hypothesis import given, settings
from hypothesis import strategies as st

from pacifica.notifications.events import Event, parse_binary, parse_event
from pacifica.notifications.events.messages import Message, binary_message
from pacifica.notifications.transport import Request

EVENT = {"specversion": "1.0", "type": "com.example.someevent", "source": "/mycontext", "id": "A"}
EVENT_0_1 = {
    "cloudEventsVersion": "0.1",
    "eventType": "com.example.someevent",
    "source": "/mycontext",
    "eventID": "A",
    "extensions": {},
    "data": [1],
}
EXAMPLE = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext",
    "id": "B234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
}


def binary(event: dict[str, Any]) -> Message:
    version = event.get("specversion") or event["cloudEventsVersion"]
    message = binary_message(version, event)
    assert message is not None
    Request("POST", "http://h/", message.headers, message.body)  # that it can be sent
    return message


def event_of(document: dict[str, Any]) -> Event:
    return parse_event(json.dumps(document).encode(), 100)


def read_back(message: Message) -> dict[str, Any]:
    """Return the event that /receive would make of a message."""
    headers = {name.lower(): value for name, value in message.headers}
    content_type = headers.pop("content-type")
    named = {name.removeprefix("ce-"): value for name, value in headers.items()}
    return parse_binary(named, content_type, message.body, 100).document()


# Examples of the specification (JSON format 1.0.2, section 3.2, as HTTP binary mode)


@pytest.mark.parametrize(
    ("members", "content_type", "body"),
    [
        (
            {"datacontenttype": "application/vnd.apache.thrift.binary", "data_base64": "AP8="},
            "application/vnd.apache.thrift.binary",
            b"\x00\xff",
        ),
        (
            {
                "unsetextension": None,
                "datacontenttype": "application/xml",
                "data": '<much wow="xml"/>',
            },
            "application/xml",
            b'<much wow="xml"/>',
        ),
        (
            {
                "subject": None,
                "datacontenttype": "application/json",
                "data": {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True},
            },
            "application/json",
            b'{"appinfoA": "abc", "appinfoB": 123, "appinfoC": true}',
        ),
        ({"subject": None, "data": "just a string"}, "application/json", b'"just a string"'),
    ],
)
def test_example_of_the_specification_is_as_it_says_in_binary_mode(
    members: dict[str, Any], content_type: str, body: bytes
) -> None:
    message = binary({**EXAMPLE, **members})
    assert message.body == body
    assert dict(message.headers) == {
        "Content-Type": content_type,
        "ce-specversion": "1.0",
        "ce-type": "com.example.someevent",
        "ce-source": "/mycontext",
        "ce-id": "B234-1234-1234",
        "ce-time": "2018-04-05T17:31:00Z",
        "ce-comexampleextension1": "value",
        "ce-comexampleothervalue": "5",
    }


def test_header_is_percent_encoded_as_the_specification_says() -> None:
    event = {**EVENT, "text": "Euro € 😀", "quote": '"100%"', "flag": True, "data": 1}
    headers = dict(binary(event).headers)
    assert headers["ce-text"] == "Euro%20%E2%82%AC%20%F0%9F%98%80"
    assert headers["ce-quote"] == "%22100%25%22"
    assert headers["ce-flag"] == "true"


def test_example_of_0_1_is_as_the_specification_says_in_binary_mode() -> None:
    event = {
        **EVENT_0_1,
        "eventTypeVersion": "1",
        "eventTime": "2018-04-05T03:56:24Z",
        "schemaURL": "s é%",
        "extensions": {"color": "red", "deep": {"a": [1, None]}, "n": 5},
        "contentType": "application/json; charset=utf-8",
    }
    message = binary(event)
    assert dict(message.headers) == {
        "Content-Type": "application/json; charset=utf-8",
        "CE-CloudEventsVersion": '"0.1"',
        "CE-EventType": '"com.example.someevent"',
        "CE-EventTypeVersion": '"1"',
        "CE-Source": '"/mycontext"',
        "CE-EventID": '"A"',
        "CE-EventTime": '"2018-04-05T03:56:24Z"',
        "CE-SchemaURL": '"s %C3%A9%25"',
        "CE-X-color": '"red"',
        "CE-X-deep": '{"a": [1, null]}',
        "CE-X-n": "5",
    }
    assert message.body == b"[1]"


# Data


@pytest.mark.parametrize(
    ("data", "content_type", "body"),
    [
        ("é", "text/plain; charset=iso-8859-1", b"\xe9"),
        ("é", 'text/plain; charset="UTF-8"', b"\xc3\xa9"),
        ("é", "text/plain", b"\xc3\xa9"),
        ("a: b", "application/x-yaml", b"a: b"),
        ("é", "application/json", b'"\\u00e9"'),
        ([2**70], "application/vnd.some+json", b"[1180591620717411303424]"),
        (None, "application/json", b"null"),
    ],
)
def test_data_is_in_the_character_set_that_its_type_names(
    data: Any, content_type: str, body: bytes
) -> None:
    message = binary({**EVENT, "datacontenttype": content_type, "data": data})
    assert (message.body, message.headers[0]) == (body, ("Content-Type", content_type))


def test_bytes_without_a_type_are_octets() -> None:
    message = binary({**EVENT, "data_base64": "AP8="})
    assert (message.body, message.headers[0][1]) == (b"\x00\xff", "application/octet-stream")


def test_bytes_of_0_3_are_sent_as_they_are_without_their_encoding() -> None:
    message = binary(
        {**EVENT, "specversion": "0.3", "datacontentencoding": "base64", "data": "/w=="}
    )
    assert message.body == b"\xff"
    assert "ce-datacontentencoding" not in dict(message.headers)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"data": "", "datacontenttype": "text/plain"},
        {"data_base64": ""},
        {"data": {"a": 1}, "datacontenttype": "text/plain"},
        {"data": "é", "datacontenttype": "text/plain; charset=us-ascii"},
        {"data": "é", "datacontenttype": "text/plain; charset=none-such"},
        {"data": "é", "datacontenttype": "text/plain; charset=idna"},
        {"data": "\ud800", "datacontenttype": "text/plain"},
        {"data": 1, "datacontenttype": "application/cloudevents+json"},
        {"data": 1, "datacontenttype": "application/cloudevents-batch+json"},
        {"data": "x", "datacontenttype": "text/plain\r\nX-Other: 1"},
        {"data_base64": "AP8=", "datacontenttype": "none"},
        {"data": 1, "datacontenttype": "application/json; charset=utf-16"},
        {"data": 1, "id": "\ud800"},
        {"data": 1, "long": "x" * 3000},
        {"data": 1, **{f"n{number}": "x" * 60 for number in range(60)}},
    ],
    ids=lambda members: ascii(members)[:60],
)
def test_event_is_not_in_binary_mode_when_headers_or_body_cannot_have_it(
    members: dict[str, Any],
) -> None:
    assert binary_message("1.0", {**EVENT, **members}) is None


@pytest.mark.parametrize(
    "members",
    [
        {"extensions": {"a b": 1}},
        {"extensions": {"é": 1}},
        {"extensions": {"": 1, "a\r\nX": 1}},
        {"extensions": {"a": 1, "A": 2}},
        {"x-a": 1, "extensions": {"a": 1}},
        {"a:b": 1},
        {"eventID": "\ud800"},
        {"contentType": "no type", "data": "x"},
    ],
    ids=ascii,
)
def test_event_of_0_1_is_not_in_binary_mode_when_no_header_can_have_its_names(
    members: dict[str, Any],
) -> None:
    assert binary_message("0.1", {**EVENT_0_1, **members}) is None


@pytest.mark.parametrize("name", ["id", "source", "ext"])
@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\0b", "\x7f", "  ", "\u2028"])
def test_value_cannot_write_headers_whatever_it_holds(name: str, value: str) -> None:
    for version, own in (("1.0", EVENT), ("0.1", EVENT_0_1)):
        names = {"id": "eventID"} if version == "0.1" else {}
        for _, encoded in binary({**own, "data": 1, names.get(name, name): value}).headers:
            assert encoded.isascii()
            assert encoded.isprintable()


# What others read


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn"], max_codepoint=0x1FFFF), max_size=8
)
FLAT = st.fixed_dictionaries(
    {
        "specversion": st.sampled_from(["0.3", "1.0"]),
        "type": TEXT.filter(bool),
        "source": TEXT.filter(bool),
        "id": TEXT.filter(bool),
    },
    optional={
        "time": st.just("2018-04-05T17:31:00Z"),
        "subject": TEXT.filter(bool),
        "extone": TEXT,
    },
)
OBJECTS = st.dictionaries(TEXT, st.integers() | TEXT | st.booleans(), max_size=3)
DATA = st.one_of(
    OBJECTS.map(lambda value: {"data": value, "datacontenttype": "application/json"}),
    TEXT.filter(bool).map(lambda text: {"data": text, "datacontenttype": "text/plain"}),
)


def by_sdk(message: Message) -> tuple[dict[str, Any], Any]:
    read = from_http_event(HTTPMessage(dict(message.headers), message.body))
    return read.get_attributes(), read.get_data()


def expected_of(event: dict[str, Any]) -> dict[str, Any]:
    attributes = {name: value for name, value in event.items() if name != "data"}
    if "time" in attributes:
        attributes["time"] = isoparse(attributes["time"])
    return attributes


@settings(max_examples=150, deadline=None)
@given(FLAT, DATA, st.sampled_from(["structured", "binary"]))
def test_sdk_reads_the_event_that_was_sent_in_either_mode(
    attributes: dict[str, Any], data: dict[str, Any], mode: str
) -> None:
    event = {**attributes, **data}
    read, found = by_sdk(event_of(event).message(mode=mode))
    if "time" not in event:  # the SDK invents one
        read.pop("time")
    assert (read, found) == (expected_of(event), event["data"])


@settings(max_examples=150, deadline=None)
@given(
    FLAT,
    DATA
    | st.binary(min_size=1, max_size=9).map(
        lambda data: {
            "data_base64": b64encode(data).decode(),
            "datacontenttype": "application/octet-stream",
        }
    ),
)
def test_receive_reads_the_event_that_was_sent_in_binary_mode(
    attributes: dict[str, Any], data: dict[str, Any]
) -> None:
    event = {**attributes, **data, "specversion": "1.0"}
    assert read_back(binary(event)) == event


@settings(max_examples=100, deadline=None)
@given(
    TEXT.filter(bool),
    st.dictionaries(
        st.sampled_from(["a", "b-c", "n1"]),
        st.recursive(
            st.none() | st.integers() | TEXT,
            lambda inner: st.lists(inner, max_size=2),
            max_leaves=3,
        ),
    ),
    st.integers() | TEXT | st.lists(st.integers()),
)
def test_receive_reads_the_event_of_0_1_that_was_sent_in_binary_mode(
    text: str, extensions: dict[str, Any], data: Any
) -> None:
    event = {**EVENT_0_1, "eventID": text, "extensions": extensions, "data": data}
    event |= {"contentType": "application/json"}
    assert read_back(binary(event)) == event


# What an event makes of itself


@pytest.mark.parametrize(
    ("document", "content_type"),
    [
        ({"any": "thing"}, "application/json"),
        (EVENT_0_1, "application/json"),
        ({**EVENT, "specversion": "0.3"}, "application/cloudevents+json"),
        (EVENT, "application/cloudevents+json"),
    ],
)
def test_event_is_sent_as_it_is_stored_when_nothing_else_is_wanted(
    document: dict[str, Any], content_type: str
) -> None:
    event = event_of(document)
    message = event.message()
    assert message.body is event.encoded
    assert message.headers == (("Content-Type", content_type),)


@pytest.mark.parametrize("wanted", ["", "0.1", "0.3", "1.0"])
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_messages_are_made_once_for_each_form_of_an_event(wanted: str, mode: str) -> None:
    event = event_of(EVENT_0_1)
    assert event.message(wanted, mode) is event.message(wanted, mode)


@pytest.mark.parametrize("wanted", ["", "0.1", "0.3", "1.0"])
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_object_without_a_version_is_sent_as_it_is_whatever_is_wanted(
    wanted: str, mode: str
) -> None:
    message = event_of({"data": 1}).message(wanted, mode)
    assert message == Message((("Content-Type", "application/json"),), b'{"data": 1}')
    extended = event_of({"data": 1}).message(wanted, mode, {"a": 1})
    assert json.loads(extended.body) == {"data": 1, "extensions": {"a": 1}}


def test_event_is_converted_to_the_version_that_is_wanted() -> None:
    message = event_of(EVENT_0_1).message("1.0", "structured", {"color": "red"})
    assert message.headers == (("Content-Type", "application/cloudevents+json"),)
    assert json.loads(message.body) == {**EVENT, "color": "red", "data": [1]}
    back = event_of(EVENT).message("0.1")
    assert back.headers == (("Content-Type", "application/json"),)
    assert json.loads(back.body)["eventType"] == "com.example.someevent"


def test_extension_of_the_subscription_is_a_header_in_binary_mode() -> None:
    event = event_of({**EVENT, "data": 1})
    assert dict(event.message("", "binary", {"n": 5}).headers)["ce-n"] == "5"
    assert dict(event.message("0.1", "binary", {"n": 5}).headers)["CE-X-n"] == "5"


def test_event_is_structured_when_it_cannot_be_in_binary_mode() -> None:
    message = event_of(EVENT).message("", "binary")
    assert message.headers == (("Content-Type", "application/cloudevents+json"),)
    assert json.loads(message.body) == EVENT


def test_events_are_equal_though_one_has_made_messages() -> None:
    one, other = (Event(UUID(int=1), json.dumps(EVENT), 0, "1.0") for _ in range(2))
    one.message("0.1", "binary")
    assert one == other
