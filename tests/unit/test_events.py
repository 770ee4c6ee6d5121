"""Events: what is accepted as one, and what is sent on."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications import events
from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events import delivered_text, parse_event
from pacifica.notifications.schemas import EVENT_0_1, Schema

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*.json"))
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


@given(
    st.fixed_dictionaries(
        {"cloudEventsVersion": st.sampled_from(["0.1", "0.2", 0.1, None])},
        optional={
            name: st.sampled_from([None, "", "x", 0, True, [], {}, {"a": 1}])
            for name in (*EVENT_0_1["properties"], "data")
            if name != "cloudEventsVersion"
        },
    )
)
def test_event_is_sound_at_a_glance_exactly_when_it_breaks_no_rule(
    document: dict[str, Any],
) -> None:
    try:
        Schema(EVENT_0_1).check(document)
        breaks_none = True
    except InvalidInput:
        breaks_none = False
    assert events._is_sound(document) == breaks_none


def test_events_have_ids_of_their_own() -> None:
    assert parse_event(b"{}", 1).uuid != parse_event(b"{}", 1).uuid


def test_delivered_text_is_the_stored_one_when_subscription_has_no_extensions() -> None:
    text = '{"a":1, "extensions": {"b": 2}}'
    assert delivered_text(text, {}) is text


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
def test_delivered_text_has_subscriptions_extensions_over_the_events(
    own: Any, subscriptions: dict[str, Any], merged: dict[str, Any]
) -> None:
    event = {**EVENT, "extensions": own, "data": "é"}
    text = delivered_text(json.dumps(event), subscriptions)
    assert json.loads(text) == {**event, "extensions": merged}
    assert text.isascii()


def test_delivered_text_gains_extensions_when_event_has_none() -> None:
    assert json.loads(delivered_text('{"a": 1}', {"b": 2})) == {"a": 1, "extensions": {"b": 2}}
