"""Binary mode, with the examples of the HTTP bindings 1.0.2, 0.3 and 0.1."""

import json
from base64 import b64encode
from typing import Any

import pytest

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events.binary import binary_event
from tests.unit.events.test_structured import EXAMPLES, OBJECT

HEADERS = {"specversion": "1.0", "id": "i", "source": "s", "type": "t"}
OF_0_1 = {"cloudeventsversion": "0.1", "eventtype": "t", "source": "s", "eventid": "i"}
EXAMPLE_0_1 = {
    "cloudeventsversion": '"0.1"',
    "eventtype": '"com.example.someevent"',
    "eventtime": '"2018-04-05T03:56:24Z"',
    "eventid": '"1234-1234-1234"',
    "source": '"/mycontext/subcontext"',
}


def read(
    headers: dict[str, str], content_type: str = "", body: bytes = b"", max_depth: int = 100
) -> dict[str, Any]:
    return binary_event(headers, content_type, body, max_depth)[0]


def fields(headers: dict[str, str], content_type: str = "", body: bytes = b"") -> list[str]:
    with pytest.raises(InvalidInput) as refusal:
        binary_event(headers, content_type, body, 100)
    return [field for field, _ in refusal.value.problems]


def reasons(headers: dict[str, str]) -> str:
    with pytest.raises(InvalidInput) as refusal:
        binary_event(headers, "", b"", 100)
    return str(refusal.value)


def test_example_of_the_http_binding_1_0_is_read() -> None:
    headers = {
        "specversion": "1.0",
        "type": "com.example.someevent",
        "time": "2018-04-05T03:56:24Z",
        "id": "1234-1234-1234",
        "source": "/mycontext/subcontext",
    }
    assert read(headers, "application/json; charset=utf-8", b'{"a": 1}') == {
        **headers,
        "datacontenttype": "application/json; charset=utf-8",
        "data": {"a": 1},
    }


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("binary", b"\x00\x01\x02\xff"),
        ("XML", b'<much wow="xml"/>'),
        ("object", json.dumps(OBJECT, indent=2).encode()),
        ("text", b'"I\'m just a string"'),
    ],
)
def test_example_of_the_json_format_is_the_same_event_in_binary_mode(
    name: str, body: bytes
) -> None:
    example = {key: value for key, value in EXAMPLES[name].items() if value is not None}
    content_type = example.setdefault("datacontenttype", "application/json")
    # In a header it is a text, as all are.
    example["comexampleothervalue"] = "5"
    headers = {key: value for key, value in example.items() if not key.startswith("data")}
    assert read(headers, content_type, body) == example


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/json", "a/b+json; charset=utf-8"]
)
def test_data_is_json_when_its_content_type_says_so(content_type: str) -> None:
    data = {"a": [2**70, "é", None, 1.5]}
    assert (
        read(HEADERS, content_type, json.dumps(data, ensure_ascii=False).encode())["data"] == data
    )


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"NaN",
        b'{"a": 1, "a": 1}',
        b"\xff",
        b"\xef\xbb\xbf1",
        b"1" * 5000,
        b"[" * 1000,
        b"1e999",
    ],
    ids=lambda body: ascii(body[:20]),
)
def test_event_is_refused_when_its_data_is_declared_json_and_is_malformed(body: bytes) -> None:
    assert fields(HEADERS, "application/json", body) == ["body"]


def test_event_is_refused_when_its_data_makes_it_too_deep() -> None:
    assert read(HEADERS, "application/json", b"[[]]", 3)["data"] == [[]]
    with pytest.raises(InvalidInput, match="3 deep"):
        read(HEADERS, "application/json", b"[[[]]]", 3)


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain", "é €".encode(), "é €"),
        ("text/plain; charset=latin-1", b"\xe9", "é"),
        ("text/csv; charset=utf-8", b"a,b\r\n", "a,b\r\n"),
        ("image/svg+xml", b"<svg/>", "<svg/>"),
        ("text/plain", b'{"a": 1}', '{"a": 1}'),
        ("text/plain", b"\0", "\0"),
    ],
)
def test_data_is_text_when_its_content_type_says_so(
    content_type: str, body: bytes, text: str
) -> None:
    event = read(HEADERS, content_type, body)
    assert (event["data"], event["datacontenttype"]) == (text, content_type)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", b"abc"),
        ("image/png", b"\x89PNG"),
        ("text/plain", b"\xff"),
        ("text/plain; charset=x-none", b"abc"),
        ("text/plain; charset=us-ascii", "é".encode()),
        ("text/plain; charset=utf-16", "é".encode("utf-16")),
        ("", b"not JSON"),
        ("", b'{"a": NaN}'),
    ],
)
def test_data_is_base64_when_it_is_neither_json_nor_text(content_type: str, body: bytes) -> None:
    encoded = b64encode(body).decode()
    assert read(HEADERS, content_type, body)["data_base64"] == encoded
    of_0_3 = read({**HEADERS, "specversion": "0.3"}, content_type, body)
    assert (of_0_3["data"], of_0_3["datacontentencoding"]) == (encoded, "base64")
    of_0_1 = read(OF_0_1, content_type, body)
    assert (of_0_1["data"], "datacontentencoding" in of_0_1) == (encoded, False)


def test_data_is_json_when_no_content_type_is_given_and_it_is_json() -> None:
    event = read(HEADERS, "", b'{"a": 1}')
    assert event == {**HEADERS, "data": {"a": 1}}


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain", "image/png"])
@pytest.mark.parametrize("headers", [HEADERS, OF_0_1, {**HEADERS, "specversion": "0.3"}])
def test_event_has_no_data_when_its_body_is_empty(
    headers: dict[str, str], content_type: str
) -> None:
    assert not {"data", "data_base64", "datacontentencoding"}.intersection(
        read(headers, content_type)
    )


def test_datacontentencoding_header_is_ignored() -> None:
    headers = {**HEADERS, "specversion": "0.3", "datacontentencoding": "base64"}
    assert read(headers, "application/json", b"{}") == {
        **{name: headers[name] for name in HEADERS},
        "datacontenttype": "application/json",
        "data": {},
    }
    assert read(headers, "image/png", b"AAEC")["data"] == "QUFFQw=="
    of_text = read(headers, "text/plain", b"AAEC")
    assert (of_text["data"], "datacontentencoding" in of_text) == ("AAEC", False)


def test_attribute_is_percent_decoded_and_unescaped() -> None:
    headers = {**HEADERS, "subject": "Euro%20%E2%82%AC%20%F0%9F%98%80", "own": '"a \\"b\\""'}
    event = read(headers)
    assert (event["subject"], event["own"]) == ("Euro € 😀", 'a "b"')


@pytest.mark.parametrize("value", ["5", "true", "1.5", "", "null"])
def test_extension_is_a_string_whatever_it_looks_like(value: str) -> None:
    assert read({**HEADERS, "own": value})["own"] == value


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"id": "%C0%A0"}, "ce-id"),
        ({"id": "a%0Ab"}, "ce-id"),
        ({"id": ""}, "ce-id"),
        ({"source": '""'}, "ce-source"),
        ({"time": "now"}, "ce-time"),
        ({"time": "2018-04-05T17:31:00"}, "ce-time"),
        ({"subject": ""}, "ce-subject"),
        ({"own": "50%"}, "ce-own"),
        ({"own-name": "x"}, "ce-own-name"),
        ({"x\xe9": "x"}, r"ce-x\xe9"),
        ({"id": "a\0b"}, "ce-id"),
        ({"id": "\0"}, "ce-id"),
        ({"data": "x"}, "ce-data"),
        ({"data_base64": "AA=="}, "ce-data_base64"),
        ({"datacontenttype": "text/plain"}, "ce-datacontenttype"),
        ({"specversion": "0.2"}, "ce-specversion"),
        ({"specversion": "1.0.2"}, "ce-specversion"),
        ({"specversion": ""}, "ce-specversion"),
        ({"cloudeventsversion": "0.1"}, "ce-specversion"),
    ],
)
def test_header_is_named_when_it_is_wrong(changed: dict[str, str], named: str) -> None:
    assert fields({**HEADERS, **changed}) == [named]


@pytest.mark.parametrize("absent", HEADERS)
def test_header_is_named_when_it_is_absent(absent: str) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != absent}
    assert fields(headers) == [f"ce-{absent}"]


@pytest.mark.parametrize("content_type", ["json", "a/b\0a/b", "text/plain\nx", "a/é", ";", ","])
def test_content_type_is_named_when_it_is_malformed(content_type: str) -> None:
    assert fields(HEADERS, content_type, b"x") == ["Content-Type"]


# Version 0.1.


def test_example_of_the_http_binding_0_1_is_read() -> None:
    assert read(EXAMPLE_0_1, "application/json; charset=utf-8", b'{"a": 1}') == {
        "cloudEventsVersion": "0.1",
        "eventType": "com.example.someevent",
        "eventTime": "2018-04-05T03:56:24Z",
        "eventID": "1234-1234-1234",
        "source": "/mycontext/subcontext",
        "contentType": "application/json; charset=utf-8",
        "extensions": {},
        "data": {"a": 1},
    }


def test_attribute_of_0_1_is_read_when_it_is_unquoted_or_percent_encoded() -> None:
    headers = {**OF_0_1, "source": "/a%20%E2%82%AC", "eventtypeversion": r'"\u00e9 %25"'}
    event = read(headers)
    assert (event["source"], event["eventTypeVersion"]) == ("/a €", "é %")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"a b"', "a b"),
        ("a b", "a b"),
        ("5", 5),
        ("true", True),
        ("NaN", "NaN"),
        ('{"a": [null]}', {"a": [None]}),
        ("{", "{"),
        ("%22%C3%A9%22", "é"),
    ],
)
@pytest.mark.parametrize("name", ["x-own", "extensions-own", "own"])
def test_extension_of_0_1_is_a_json_value_or_else_text(
    name: str, value: str, expected: Any
) -> None:
    assert read({**OF_0_1, name: value})["extensions"] == {"own": expected}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"cloudeventsversion": "0.2"}, "ce-cloudeventsversion"),
        ({"eventtype": '""'}, "ce-eventtype"),
        ({"eventid": '"a'}, "ce-eventid"),
        ({"x-own": '"a'}, "ce-x-own"),
        ({"eventid": "a\0a"}, "ce-eventid"),
        ({"eventid": "%FF"}, "ce-eventid"),
        ({"contenttype": "a/b"}, "ce-contenttype"),
        ({"data": "x"}, "ce-data"),
        ({"own": "1", "x-own": "2"}, "ce-x-own"),
        ({"x-own": "1", "extensions-own": "1"}, "ce-extensions-own"),
        ({"specversion": "1.0"}, "ce-specversion"),
    ],
)
def test_header_of_0_1_is_named_when_it_is_wrong(changed: dict[str, str], named: str) -> None:
    assert fields({**OF_0_1, **changed}) == [named]


def test_headers_of_0_1_are_named_when_they_are_absent() -> None:
    assert fields({"cloudeventsversion": "0.1"}) == ["ce-eventtype", "ce-source", "ce-eventid"]


def test_extension_of_0_1_is_refused_when_it_is_too_deep() -> None:
    with pytest.raises(InvalidInput, match="5 deep"):
        read({**OF_0_1, "x-own": "[[[[]]]]"}, max_depth=5)
