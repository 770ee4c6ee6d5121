"""Events: what is accepted as one, and what is sent on."""

import json
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.errors import BatchTooLong, InvalidInput
from pacifica.notifications.events import (
    Event,
    identity,
    parse_batch,
    parse_binary,
    parse_event,
)

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*.json"))
EVENT = {"cloudEventsVersion": "0.1", "eventType": "t", "source": "s", "eventID": "i"}


def parsed(document: Any) -> dict[str, Any]:
    return parse_event(json.dumps(document).encode(), 100).document()


def problems(document: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as refusal:
        parsed(document)
    return list(refusal.value.problems)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_event_is_kept_as_it_came_when_metadata_sends_it(capture: Path) -> None:
    event = parse_event(capture.read_bytes(), 100)
    document = json.loads(capture.read_bytes())
    assert event.document() == document
    assert list(event.document()) == list(document)
    assert event.text.isascii()


@pytest.mark.parametrize(
    "document",
    [{}, {"data": 1}, {"eventType": 1, "extensions": []}, {"cloudeventsversion": "9"}],
    ids=str,
)
def test_event_is_taken_as_it_is_when_it_names_no_version(document: dict[str, Any]) -> None:
    assert parsed(document) == document


@pytest.mark.parametrize("given", [{}, {"extensions": None}, {"extensions": {}}], ids=str)
def test_event_has_extensions_when_its_version_is_0_1(given: dict[str, Any]) -> None:
    assert parsed({**EVENT, **given}) == {**EVENT, "extensions": {}}


@pytest.mark.parametrize("data", [[{"a": 1}], {"a": 1}, "bare", None, 1, "\0\ud800"], ids=ascii)
def test_event_may_have_any_data(data: Any) -> None:
    assert parsed({**EVENT, "data": data})["data"] == data


@pytest.mark.parametrize("document", [[], "x", 1, None, True, [EVENT]], ids=str)
def test_event_is_refused_when_it_is_no_object(document: Any) -> None:
    assert problems(document) == [("body", "must be a JSON object")]


def test_event_is_refused_for_each_attribute_once_when_several_are_absent() -> None:
    assert problems({"cloudEventsVersion": "0.1"}) == [
        (name, "is required") for name in ("eventType", "source", "eventID")
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"cloudEventsVersion": value} for value in ("0.2", "1.0", 0.1, None, [])),
        *({name: value} for name in ("eventType", "source", "eventID") for value in ("", 1, None)),
        *({"eventTime": 1}, {"contentType": []}, {"schemaURL": {}}, {"eventTypeVersion": 1}),
        *({"extensions": []}, {"extensions": "x"}, {"specversion": "0.3"}, {"specversion": None}),
    ],
    ids=str,
)
def test_event_is_refused_when_attribute_is_wrong(wrong: dict[str, Any]) -> None:
    assert [field for field, _ in problems({**EVENT, **wrong})] == list(wrong)


OF_1_0 = {"specversion": "1.0", "type": "t", "source": "s", "id": "i", "own": 1}
BATCH = [{**OF_1_0, "id": "another"}, OF_1_0]


def test_batch_is_its_events_in_order() -> None:
    events = parse_batch(json.dumps(BATCH).encode(), 100, 2, 1)
    assert [event.document() for event in events] == BATCH
    assert [(event.version, event.hops) for event in events] == [("1.0", 1)] * 2
    assert len({event.uuid for event in events}) == 2


def test_batch_may_be_empty() -> None:
    assert parse_batch(b"[]", 1, 1) == []


def test_batch_is_refused_when_it_has_too_many_events() -> None:
    with pytest.raises(BatchTooLong) as refusal:
        parse_batch(b"[{}, {}, {}]", 100, 2)
    assert refusal.value.most == 2


@pytest.mark.parametrize("body", [b"{}", b"1", b"null", b'"x"', b""])
def test_batch_is_refused_when_it_is_no_array(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="body"):
        parse_batch(body, 100, 2)


def test_depth_of_an_event_is_the_same_in_a_batch_and_in_every_mode() -> None:
    event = {"specversion": "1.0", "type": "t", "source": "s", "id": "i"}
    headers = {name: str(value) for name, value in event.items()}
    for deep, is_refused in (("[[]]", False), ("[[[]]]", True)):
        text = json.dumps(event)[:-1] + f', "data": {deep}}}'
        for parse in (
            lambda text=text: parse_event(text.encode(), 3),
            lambda text=text: parse_batch(f"[{text}]".encode(), 3, 1),
            lambda deep=deep: parse_binary(headers, "application/json", deep.encode(), 3),
        ):
            with pytest.raises(InvalidInput, match="deep") if is_refused else nullcontext():
                parse()


def test_event_has_the_same_form_and_identity_in_either_mode() -> None:
    event = {"specversion": "1.0", "type": "t", "source": "s", "id": "é", "data": [1]}
    one = parse_event(json.dumps(event).encode(), 100, 2, names_version=True)
    headers = {"specversion": "1.0", "type": "t", "source": "s", "id": "%C3%A9"}
    other = parse_binary(headers, "", b"[1]", 100, 2)
    assert one.document() == other.document() == event
    assert (one.version, one.hops) == (other.version, other.hops) == ("1.0", 2)
    assert identity(one) == identity(other) == ("s", "é")
    assert one.text.isascii()


def test_identity_is_source_and_id_where_an_event_names_its_version() -> None:
    assert identity(parse_event(json.dumps(EVENT).encode(), 100)) == ("s", "i")
    assert identity(parse_event(b'{"source": "s", "id": "i"}', 100)) is None


ALMOST = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [*EVENT, "specversion", "id", "type", "time", "data", "data_base64", "datacontentencoding"]
)
DOCUMENTS = st.dictionaries(NAMES | st.text(), st.sampled_from(["0.1", "0.3", "1.0"]) | ALMOST)
BODIES = st.binary() | (DOCUMENTS | st.lists(DOCUMENTS) | ALMOST).map(
    lambda value: json.dumps(value).encode()
)
HEADERS = st.dictionaries(
    NAMES.map(str.lower) | st.text(),
    st.sampled_from(["0.1", '"0.1"', "0.3", "1.0", "x"])
    | st.text(st.characters(max_codepoint=255)),
)
KINDS = st.sampled_from(["", "application/json", "text/plain", "text/plain; charset=x"]) | st.text(
    st.characters(max_codepoint=255)
)


@given(BODIES, st.booleans(), HEADERS, KINDS)
def test_event_is_taken_or_refused_whatever_comes(
    body: bytes, strict: bool, headers: dict[str, str], kind: str
) -> None:
    for parse in (
        lambda: [parse_event(body, 20, names_version=strict)],
        lambda: parse_batch(body, 20, 3),
        lambda: [parse_binary(headers, kind, body, 20)],
    ):
        events: list[Event] = []
        with suppress(BatchTooLong, InvalidInput):
            events = parse()
        for event in events:
            assert event.text.isascii()
            again = parse_event(event.text.encode(), 20, names_version=bool(event.version))
            assert (again.text, again.version) == (event.text, event.version)


def test_events_have_ids_of_their_own() -> None:
    assert parse_event(b"{}", 1).uuid != parse_event(b"{}", 1).uuid


def test_event_is_sent_as_it_is_stored_when_subscription_has_no_extensions() -> None:
    event = Event(UUID(int=1), '{"a":1, "extensions": {"b": 2}}')
    assert event.message("", "structured", {}).body is event.encoded


@pytest.mark.parametrize(
    ("own", "subscriptions", "merged"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"y": 2}}),
        ({"a": 1}, {"a": None}, {"a": None}),
        (None, {"a": 1}, {"a": 1}),
        ([1], {"a": 1}, {"a": 1}),
    ],
    ids=str,
)
def test_event_is_sent_with_subscriptions_extensions_over_its_own(
    own: Any, subscriptions: dict[str, Any], merged: dict[str, Any]
) -> None:
    event = {**EVENT, "extensions": own, "data": "é"}
    body = Event(UUID(int=1), json.dumps(event)).message(extensions=subscriptions).body
    assert json.loads(body) == {**event, "extensions": merged}
    assert body.isascii()


def test_event_is_sent_with_extensions_when_it_has_none() -> None:
    message = Event(UUID(int=1), '{"a": 1}').message(extensions={"b": 2})
    assert json.loads(message.body) == {"a": 1, "extensions": {"b": 2}}
