"""The modes and versions of CloudEvents as a producer sends them to `/receive`, over HTTP."""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent

from tests.integration.test_receive import EVENT as OF_0_1
from tests.integration.test_receive import HOSTILE, post, received, stored, told
from tests.integration.webservice import Raw, Service, assert_error, exchange, running
from tests.support import databases
from tests.support.servers import eventually

EVENT = {"specversion": "1.0", "id": "i", "source": "s", "type": "t"}
OF_0_3 = {**EVENT, "specversion": "0.3"}
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BATCH = {"Content-Type": "application/cloudevents-batch+json"}
BINARY = {f"ce-{name}": value for name, value in EVENT.items()}


def lines_of(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    return answer.json()


def version_of(service: Service, uuid: str) -> str:
    rows = databases.execute(
        service.environment["PEEWEE_URL"],
        f"SELECT specversion FROM eventlog WHERE uuid = '{UUID(uuid).hex}'",  # noqa: S608
    )
    return rows[0][0]


def count(service: Service) -> int:
    return databases.execute(service.environment["PEEWEE_URL"], "SELECT count(*) FROM eventlog")[0][
        0
    ]


@pytest.mark.parametrize("kind", ["application/json", "application/cloudevents+json"])
@pytest.mark.parametrize("event", [EVENT, OF_0_3, {**OF_0_1, "extensions": {}}], ids=str)
def test_event_is_stored_as_it_came_when_it_is_structured(
    service: Service, kind: str, event: dict[str, Any]
) -> None:
    sent = {**event, "data": {"a": [2**70, None, "é"]}}
    answer = post(service, sent, headers={"Content-Type": kind})
    assert stored(service, answer.text) == sent
    named = event.get("specversion", event.get("cloudEventsVersion"))
    assert version_of(service, answer.text) == named


@pytest.mark.parametrize("kind", ["application/json", ""])
def test_object_needs_no_version_when_it_is_not_said_to_be_an_event(
    service: Service, kind: str
) -> None:
    assert received(service, {"a": 1}, headers={"Content-Type": kind}) == {"a": 1}


@pytest.mark.parametrize(
    "kind", ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=utf-8"]
)
def test_event_is_400_without_version_when_it_is_said_to_be_one(
    service: Service, kind: str
) -> None:
    answer = post(service, {"a": 1}, headers={"Content-Type": kind})
    assert_error(answer, 400, "specversion")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"id": None}, "id"),
        ({"specversion": "0.2"}, "specversion"),
        ({"specversion": "2.0"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"cloudEventsVersion": "0.1"}, "specversion"),
        ({"time": "2018-04-05T17:31:00"}, "time"),
        ({"My-Own": 1}, "My-Own"),
        ({"own": 2**31}, "own"),
        ({"data": 1, "data_base64": "AA=="}, "data_base64"),
        ({"data_base64": "A"}, "data_base64"),
    ],
)
def test_event_is_400_and_attribute_named_when_it_is_wrong(
    service: Service, changed: dict[str, Any], named: str
) -> None:
    answer = post(service, {**EVENT, **changed}, headers=STRUCTURED)
    assert_error(answer, 400, named)
    assert [each["field"] for each in answer.json()["fields"]] == [named]


def test_event_is_stored_in_its_structured_form_when_it_is_binary(service: Service) -> None:
    headers = {**BINARY, "ce-subject": "Euro%20%E2%82%AC", "ce-own": '"a b"'}
    headers["Content-Type"] = "application/json"
    answer = post(service, b'{"a": 18446744073709551617}', headers=headers)
    assert stored(service, answer.text) == {
        **EVENT,
        "subject": "Euro €",
        "own": "a b",
        "datacontenttype": "application/json",
        "data": {"a": 2**64 + 1},
    }
    assert version_of(service, answer.text) == "1.0"


@pytest.mark.parametrize(
    ("kind", "body", "members"),
    [
        ("text/plain; charset=latin-1", b"\xe9", {"data": "é"}),
        ("image/png", b"\x89PNG\0", {"data_base64": base64.b64encode(b"\x89PNG\0").decode()}),
        ("application/json", b"", {}),
    ],
)
def test_data_is_stored_as_its_content_type_says_when_it_is_binary(
    service: Service, kind: str, body: bytes, members: dict[str, Any]
) -> None:
    headers = {**BINARY, "Content-Type": kind}
    assert received(service, body, headers=headers) == {**EVENT, "datacontenttype": kind, **members}


def test_data_is_json_if_it_is_when_no_content_type_says_so(service: Service) -> None:
    answers = [binary(service, body) for body in (b'{"a": 1}', b"\xff")]
    assert [stored(service, answer.body.decode()) for answer in answers] == [
        {**EVENT, "data": {"a": 1}},
        {**EVENT, "data_base64": "/w=="},
    ]


def binary(service: Service, body: bytes, *lines: bytes, chunked: bool = False) -> Raw:
    """Send an event in binary mode, with header lines as they are given."""
    named = [f"{name}: {value}".encode() for name, value in BINARY.items()]
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    head = [b"POST /receive HTTP/1.1", b"Host: x", b"Connection: close", length, *named, *lines]
    return exchange(service.port, b"\r\n".join([*head, b"", body]))


def test_event_of_0_1_is_stored_when_it_is_binary(service: Service) -> None:
    headers = {
        "CE-CloudEventsVersion": '"0.1"',
        "CE-EventType": '"com.example.someevent"',
        "CE-EventID": "1234",
        "CE-Source": '"/mycontext"',
        "CE-X-Own": "5",
        "Content-Type": "application/json",
    }
    assert received(service, b'{"a": 1}', headers=headers) == {
        "cloudEventsVersion": "0.1",
        "eventType": "com.example.someevent",
        "eventID": "1234",
        "source": "/mycontext",
        "contentType": "application/json",
        "extensions": {"own": 5},
        "data": {"a": 1},
    }


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"ce-id": None}, "ce-id"),
        ({"ce-specversion": None}, "ce-specversion"),
        ({"ce-specversion": "0.2"}, "ce-specversion"),
        ({"ce-source": "%C0%A0"}, "ce-source"),
        ({"ce-subject": "a%0Ab"}, "ce-subject"),
        ({"ce-datacontenttype": "text/plain"}, "ce-datacontenttype"),
        ({"ce-time": "now"}, "ce-time"),
        ({"ce-my-own": "x"}, "ce-my-own"),
        ({"Content-Type": "nonsense"}, "Content-Type"),
    ],
)
def test_event_is_400_and_header_named_when_it_is_wrong(
    service: Service, changed: dict[str, Any], named: str
) -> None:
    kept = {"Content-Type": "text/plain", **BINARY, **changed}
    headers = {name: value for name, value in kept.items() if value is not None}
    answer = post(service, b"x", headers=headers)
    assert_error(answer, 400, named)
    assert [each["field"] for each in answer.json()["fields"]] == [named]


def test_event_is_415_when_its_json_is_in_another_charset(service: Service) -> None:
    headers = {**BINARY, "Content-Type": "application/json; charset=latin-1"}
    assert_error(post(service, b'"\xe9"', headers=headers), 415, "utf-8")


def test_content_type_decides_when_headers_say_something_else(service: Service) -> None:
    headers = {**BINARY, "ce-id": "of the header", **STRUCTURED}
    assert received(service, {**EVENT, "data": 1}, headers=headers) == {**EVENT, "data": 1}
    answer = post(service, [EVENT], headers={**BINARY, **BATCH})
    assert len(lines_of(answer)) == 1


def test_other_headers_do_not_make_it_binary(service: Service) -> None:
    headers = {"Content-Type": "application/json", "ce-subject": "x", "ce-own": "%"}
    assert received(service, {"a": 1}, headers=headers) == {"a": 1}


@pytest.mark.parametrize("name", ["ce-id", "CE-ID", "ce-own", "ce-specversion"])
def test_event_is_400_when_an_attribute_is_given_twice(service: Service, name: str) -> None:
    lines = [f"{name}: 1.0".encode()] * (1 if name.lower() in BINARY else 2)
    assert_error(binary(service, b"{}", *lines), 400, name.lower(), "once")


def test_header_with_underscores_is_no_attribute(service: Service) -> None:
    answer = binary(service, b"", b"ce_subject: x")
    assert stored(service, answer.body.decode()) == EVENT


def test_event_is_taken_when_it_is_binary_and_chunked(service: Service) -> None:
    answer = binary(service, b"5\r\n[1, 2\r\n1\r\n]\r\n0\r\n\r\n", chunked=True)
    assert stored(service, answer.body.decode()) == {**EVENT, "data": [1, 2]}


@pytest.mark.parametrize(
    "body",
    [
        body
        for name, body in HOSTILE.items()
        if name not in ("nothing", "array", "text", "null", "number")
    ],
    ids=lambda body: ascii(body[:20]),
)
def test_data_is_400_when_it_is_no_json(service: Service, body: bytes) -> None:
    headers = {**BINARY, "Content-Type": "application/json"}
    assert_error(post(service, body, headers=headers), 400, "body")
    assert_error(post(service, b"[" + body + b"]", headers=BATCH), 400, "body")


# Batches.


def test_batch_is_stored_in_order_when_it_comes(service: Service) -> None:
    batch = [{**EVENT, "data": 1}, {**EVENT, "own": "x"}, {**EVENT, "data": "é"}]
    uuids = lines_of(post(service, batch, headers=BATCH))
    assert [stored(service, uuid) for uuid in uuids] == batch
    eventually(lambda: set(uuids) <= {each for ids in told(service.folder) for each in ids}, 5)


def test_batch_may_be_empty(service: Service) -> None:
    assert lines_of(post(service, [], headers=BATCH)) == []


def test_batch_is_not_stored_at_all_when_one_of_it_is_wrong(service: Service) -> None:
    before = count(service)
    batch = [EVENT, {**EVENT, "source": ""}, {"a": 1}]
    answer = post(service, batch, headers=BATCH)
    assert_error(answer, 400)
    fields = [each["field"] for each in answer.json()["fields"]]
    assert fields == ["1.source", "2.specversion"]
    assert count(service) == before


@pytest.mark.parametrize("body", [{}, EVENT, None, "x", 5])
def test_batch_is_400_when_it_is_no_array(service: Service, body: Any) -> None:
    answer = post(service, json.dumps(body).encode(), headers=BATCH)
    assert_error(answer, 400, "array")


def test_batch_is_415_when_its_charset_is_another(service: Service) -> None:
    kind = {"Content-Type": "application/cloudevents-batch+json; charset=utf-16"}
    assert_error(post(service, [], headers=kind), 415, "utf-8")


# gzip.


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "identity"])
def test_body_is_taken_when_it_is_compressed(service: Service, coding: str) -> None:
    pack: Callable[[bytes], bytes] = bytes if coding == "identity" else gzip.compress
    packed = {"Content-Encoding": coding}
    body = pack(json.dumps(OF_0_1).encode())
    assert received(service, body, headers=packed) == {**OF_0_1, "extensions": {}}
    headers = {**BINARY, **packed, "Content-Type": "text/plain"}
    assert received(service, pack(b"x"), headers=headers)["data"] == "x"
    batch = post(service, pack(json.dumps([EVENT, EVENT]).encode()), headers={**BATCH, **packed})
    assert len(lines_of(batch)) == 2


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd", "x"])
def test_body_is_415_and_told_of_gzip_when_its_coding_is_another(
    service: Service, coding: str
) -> None:
    answer = post(service, b"x", headers={"Content-Encoding": coding})
    assert_error(answer, 415, "gzip")
    assert answer.headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize("body", [b"", b"{}", gzip.compress(b"{}", mtime=0)[:-1]])
def test_body_is_400_when_it_is_no_gzip(service: Service, body: bytes) -> None:
    assert_error(post(service, body, headers={"Content-Encoding": "gzip"}), 400, "gzip")


def test_subscription_is_415_when_it_is_compressed(service: Service, user: str) -> None:
    body = gzip.compress(b"{}")
    answer = service.call("POST", "/eventmatch", user, body, headers={"Content-Encoding": "gzip"})
    assert_error(answer, 415, "compressed")


@pytest.fixture(scope="module")
def bounded(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], dict[str, str]],
    migrated: Path,
) -> Iterator[Service]:
    """Run a service that takes little."""
    folder = tmp_path_factory.mktemp("bounded")
    environment = environment_in(folder)
    (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
    (folder / "config.ini").write_text("[receive]\nmax_body = 1000\nmax_batch = 2\n")
    with running(environment, folder) as service:
        yield service


def test_batch_is_413_when_it_has_too_many_events(bounded: Service) -> None:
    assert len(lines_of(post(bounded, [EVENT] * 2, headers=BATCH))) == 2
    assert_error(post(bounded, [EVENT] * 3, headers=BATCH), 413, "2 events")


def test_body_is_413_when_it_is_too_large_uncompressed(bounded: Service) -> None:
    packed = {"Content-Encoding": "gzip"}
    exactly = b'{"a": "' + b"x" * 991 + b'"}'
    assert received(bounded, gzip.compress(exactly), headers=packed) == json.loads(exactly)
    for body in (exactly + b" ", b" " * 500_000):
        assert_error(post(bounded, gzip.compress(body), headers=packed), 413, "1000")


def test_event_is_400_when_it_is_too_deep_in_any_mode(bounded: Service) -> None:
    headers = {**BINARY, "Content-Type": "application/json"}
    deepest, deeper = (b"[" * levels + b"]" * levels for levels in (99, 100))
    assert received(bounded, deepest, headers=headers)["data"] == json.loads(deepest)
    assert_error(post(bounded, deeper, headers=headers), 400, "100 deep")
    batch = [{**EVENT, "data": json.loads(deepest)}]
    assert len(lines_of(post(bounded, batch, headers=BATCH))) == 1
    batch[0]["data"] = json.loads(deeper)
    assert_error(post(bounded, batch, headers=BATCH), 400, "deep")


# What the SDK sends.


@pytest.mark.parametrize("written", [http.to_structured_event, http.to_binary_event])
@pytest.mark.parametrize("data", [{"a": "é"}, b"\x00\xff"])
def test_event_is_taken_when_the_sdk_sends_it(
    service: Service, written: Callable[..., Any], data: Any
) -> None:
    kind = "application/json" if isinstance(data, dict) else "application/octet-stream"
    named = {"type": "t", "source": "/s", "subject": "é %", "datacontenttype": kind}
    message = written(CloudEvent(named, data))
    headers = {name.title(): value for name, value in message.headers.items()}
    event = received(service, message.body, headers=headers)
    assert (event["subject"], event["datacontenttype"]) == ("é %", kind)
    sent = event["data"] if isinstance(data, dict) else base64.b64decode(event["data_base64"])
    assert sent == data
