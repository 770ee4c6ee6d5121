"""Conversion between the versions of CloudEvents, and merging of extensions."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacifica.notifications.errors import EventUnsendable
from pacifica.notifications.events.attributes import VERSIONS, attribute_problems
from pacifica.notifications.events.conversion import convert, with_extensions
from pacifica.notifications.events.structured import structured_event

CAPTURES = sorted((Path(__file__).parents[2] / "captures").glob("*.json"))
EVENT_0_1 = {
    "cloudEventsVersion": "0.1",
    "eventType": "org.pacifica.metadata.ingest",
    "source": "http://metadata.pacifica.org/transactions?_id=1234",
    "eventID": "metadata.ingest.1234",
    "eventTime": "2026-01-31T12:00:00Z",
    "schemaURL": "https://example.org/schema",
    "contentType": "application/json",
    "extensions": {"color": "red"},
    "data": [1],
}
EVENT_1_0 = {
    "specversion": "1.0",
    "type": "org.pacifica.metadata.ingest",
    "source": "http://metadata.pacifica.org/transactions?_id=1234",
    "id": "metadata.ingest.1234",
    "time": "2026-01-31T12:00:00Z",
    "dataschema": "https://example.org/schema",
    "datacontenttype": "application/json",
    "color": "red",
    "data": [1],
}
EVENT_0_3 = {
    "schemaurl" if name == "dataschema" else name: value for name, value in EVENT_1_0.items()
} | {"specversion": "0.3"}
EVENTS: dict[str, dict[str, Any]] = {"0.1": EVENT_0_1, "0.3": EVENT_0_3, "1.0": EVENT_1_0}
BYTES = b64encode(b"\x00\xff").decode()


def to(target: str, version: str, **members: Any) -> dict[str, Any]:
    """Convert an event of a version with these members beside those that are required."""
    names = ("cloudEventsVersion", "eventType", "source", "eventID", "extensions")
    names = names if version == "0.1" else ("specversion", "type", "source", "id")
    required = {name: EVENTS[version][name] for name in names if name in EVENTS[version]}
    if version == "0.1":
        required["extensions"] = {}
    return dict(convert({**required, **members}, version, target))


@pytest.mark.parametrize("target", VERSIONS)
@pytest.mark.parametrize("version", VERSIONS)
def test_event_has_the_same_meaning_in_every_version(version: str, target: str) -> None:
    assert convert(EVENTS[version], version, target) == EVENTS[target]


@pytest.mark.parametrize("target", ["0.3", "1.0"])
@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_event_of_metadata_is_valid_when_converted_and_unchanged_when_converted_back(
    capture: Path, target: str
) -> None:
    event, _ = structured_event(json.loads(capture.read_bytes()), require_version=True)
    flat = dict(convert(event, "0.1", target))
    assert list(attribute_problems(flat, target)) == []
    assert (flat["type"], flat["id"], flat["data"]) == (
        event["eventType"],
        event["eventID"],
        event["data"],
    )
    assert convert(flat, target, "0.1") == event


@pytest.mark.parametrize("time", ["2026-01-31T12:00:00", "2026-01-31", "noon", "2026-01-31T12:00"])
def test_time_becomes_an_extension_when_it_has_no_offset(time: str) -> None:
    event = to("1.0", "0.1", eventTime=time)
    assert "time" not in event
    assert event["eventtime"] == time
    assert convert(event, "1.0", "0.1")["eventTime"] == time


def test_content_type_becomes_an_extension_when_it_is_not_a_media_type() -> None:
    event = to("1.0", "0.1", contentType="json")
    assert "datacontenttype" not in event
    assert event["contenttype"] == "json"
    assert convert(event, "1.0", "0.1")["contentType"] == "json"


def test_event_type_version_becomes_an_extension_and_converts_back() -> None:
    event = to("1.0", "0.1", eventTypeVersion="2")
    assert event["eventtypeversion"] == "2"
    assert convert(event, "1.0", "0.1")["eventTypeVersion"] == "2"


def test_subject_becomes_an_extension_in_0_1_and_converts_back() -> None:
    event = to("0.1", "1.0", subject="s")
    assert event["extensions"] == {"subject": "s"}
    assert convert(event, "0.1", "1.0")["subject"] == "s"


@pytest.mark.parametrize(
    ("name", "renamed"),
    [
        ("camelCase", "camelcase"),
        ("with-hyphen_and é", "withhyphenand"),
        ("id", "extid"),
        ("Source", "extsource"),
        ("data", "extdata"),
        ("specversion", "extspecversion"),
        ("1st", "1st"),
        ("---", None),
        ("", None),
    ],
)
def test_extension_is_renamed_when_its_name_is_not_allowed(name: str, renamed: str | None) -> None:
    event = to("1.0", "0.1", extensions={name: "value"})
    assert list(attribute_problems(event, "1.0")) == []
    assert (event["id"], event["source"]) == (EVENT_0_1["eventID"], EVENT_0_1["source"])
    new = {each for each, value in event.items() if value == "value"}
    assert new == ({renamed} if renamed else set())


def test_extension_loses_leading_digits_when_the_version_is_0_3() -> None:
    assert to("0.3", "1.0", **{"1st": "value"})["st"] == "value"


@pytest.mark.parametrize(
    "extensions", [{"Color": 1, "color": 2}, {"color": 2, "Color": 1}, {"co-lor": 2, "Color": 1}]
)
def test_extension_whose_name_did_not_change_or_the_first_is_kept_when_two_collide(
    extensions: dict[str, Any],
) -> None:
    assert to("1.0", "0.1", extensions=extensions)["color"] == 2


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("text", "text"),
        ("", ""),
        (True, True),
        (-5, -5),
        (2**31, "2147483648"),
        (1.5, "1.5"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        ("\x07é", '"\\u0007\\u00e9"'),
    ],
)
def test_extension_becomes_json_text_when_1_0_does_not_allow_its_type(
    value: Any, kept: Any
) -> None:
    event = to("1.0", "0.1", extensions={"x": value})
    assert type(event["x"]) is type(kept)
    assert event["x"] == kept
    assert list(attribute_problems(event, "1.0")) == []


def test_extension_keeps_any_value_when_the_version_is_0_3() -> None:
    assert to("0.3", "0.1", extensions={"x": {"a": [1.5]}})["x"] == {"a": [1.5]}


def test_extension_is_left_out_when_it_is_null() -> None:
    assert "x" not in to("1.0", "0.1", extensions={"x": None})


def test_unknown_members_of_0_1_become_extensions_and_do_not_override_extensions() -> None:
    event = to("1.0", "0.1", stray=1, color="member", extensions={"color": "red"})
    assert (event["stray"], event["color"]) == (1, "red")


def test_bytes_are_base64_in_the_members_that_each_version_defines() -> None:
    one, three = to("0.3", "1.0", data_base64=BYTES), to("1.0", "0.3", data=BYTES)
    assert (one["data"], one["datacontentencoding"]) == (BYTES, "base64")
    assert (three["data"], "data_base64" in three) == (BYTES, False)
    encoded = to("1.0", "0.3", data=BYTES, datacontentencoding="base64")
    assert (encoded["data_base64"], "data" in encoded) == (BYTES, False)


def test_bytes_are_marked_by_an_extension_in_0_1_and_convert_back() -> None:
    event = to("0.1", "1.0", data_base64=BYTES, datacontenttype="image/png")
    assert (event["data"], event["extensions"]) == (BYTES, {"datacontentencoding": "base64"})
    assert convert(event, "0.1", "1.0")["data_base64"] == BYTES
    assert convert(event, "0.1", "0.3")["datacontentencoding"] == "base64"


def test_encoding_stays_an_extension_when_data_is_not_base64() -> None:
    event = to("1.0", "0.1", extensions={"datacontentencoding": "base64"}, data=[1])
    assert (event["data"], event["datacontentencoding"]) == ([1], "base64")


def test_base64_of_json_becomes_json_in_0_1() -> None:
    encoded = b64encode(b'{"a": 1}').decode()
    event = to("0.1", "1.0", data_base64=encoded, datacontenttype="application/json")
    assert (event["data"], event["extensions"]) == ({"a": 1}, {})


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"a": 1, "a": 1}', b"[" * 200 + b"]" * 200])
def test_base64_stays_in_0_1_when_it_does_not_decode_to_json(body: bytes) -> None:
    encoded = b64encode(body).decode()
    event = to("0.1", "1.0", data_base64=encoded, datacontenttype="application/json")
    assert event["data"] == encoded


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", VERSIONS)
def test_null_data_is_kept_apart_from_absent_data(version: str, target: str) -> None:
    assert to(target, version, data=None)["data"] is None
    assert "data" not in to(target, version)


def test_conversion_is_refused_when_a_version_is_unknown() -> None:
    for version, target in (("1.0", "0.2"), ("9.9", "1.0"), ("", "1.0")):
        with pytest.raises(ValueError, match="no version"):
            convert(EVENT_1_0, version, target)


TEXT = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["a", "A", "id", "time", "data", "subject", "é", "x-y", "1", "schemaurl"])
ANY_0_1 = st.fixed_dictionaries(
    {
        "cloudEventsVersion": st.just("0.1"),
        "eventType": TEXT.filter(bool),
        "source": st.just("/s"),
        "eventID": st.just("i"),
        "extensions": st.dictionaries(NAMES | TEXT, JSON, max_size=4),
    },
    optional={
        "eventTime": st.sampled_from(["2026-01-31T12:00:00", "2026-01-31T12:00:00Z", "", None]),
        "contentType": st.sampled_from(["application/json", "text/plain", "x", "", None]),
        "schemaURL": TEXT | st.none(),
        "eventTypeVersion": TEXT | st.none(),
        "stray": JSON,
        "data": JSON,
    },
)


@settings(max_examples=200)
@given(ANY_0_1, st.sampled_from(["0.3", "1.0"]))
def test_any_event_of_0_1_is_valid_in_the_version_that_it_is_converted_to(
    event: dict[str, Any], target: str
) -> None:
    flat = dict(convert(event, "0.1", target))
    broken = [name for name, _ in attribute_problems(flat, target)]
    # Identifying attributes are never changed; 0.1 allows types that later versions do not.
    assert set(broken) <= {"type"}
    assert [flat[name] for name in ("type", "source", "id")] == [
        event[name] for name in ("eventType", "source", "eventID")
    ]
    assert ("data" in event) == ("data" in flat or "data_base64" in flat)
    json.dumps(flat, allow_nan=False)


SIMPLE = st.text('abc é%"', max_size=6) | st.booleans() | st.integers(-(2**31), 2**31 - 1)
ANY_1_0 = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "type": st.just("t"),
        "source": st.just("/s"),
        "id": st.just("i"),
    },
    optional={
        "time": st.just("2026-01-31T12:00:00.5+01:00"),
        "subject": st.just("s"),
        "dataschema": st.just("https://example.org/s"),
        "datacontenttype": st.sampled_from(["text/plain", "image/png"]),
        "ext": SIMPLE,
        "other": SIMPLE,
    },
).flatmap(
    lambda event: st.one_of(
        st.just(event),
        TEXT.map(lambda data: {**event, "data": data}),
        st.binary(max_size=9).map(lambda data: {**event, "data_base64": b64encode(data).decode()}),
    )
)


@settings(max_examples=200)
@given(ANY_1_0, st.sampled_from(["0.1", "0.3"]))
def test_event_of_1_0_is_unchanged_when_converted_to_another_version_and_back(
    event: dict[str, Any], by_way_of: str
) -> None:
    there = convert(event, "1.0", by_way_of)
    assert convert(there, by_way_of, "1.0") == event


# Extensions of subscriptions


@pytest.mark.parametrize("version", ["0.1", ""])
@pytest.mark.parametrize(
    ("event", "extensions", "expected"),
    [
        (
            {"a": 1, "extensions": {"x": 1, "y": 2}},
            {"x": 3},
            {"a": 1, "extensions": {"x": 3, "y": 2}},
        ),
        (
            {"extensions": {"x": {"deep": 1}}},
            {"x": {"other": 2}},
            {"extensions": {"x": {"other": 2}}},
        ),
        ({"a": 1}, {"x": None}, {"a": 1, "extensions": {"x": None}}),
        ({"extensions": None}, {"x": 3}, {"extensions": {"x": 3}}),
        ({"extensions": "odd"}, {"x": 3}, {"extensions": {"x": 3}}),
    ],
    ids=str,
)
def test_extensions_of_a_subscription_override_those_of_the_event(
    event: Any, extensions: Any, expected: Any, version: str
) -> None:
    assert with_extensions(event, version, extensions) == expected


@pytest.mark.parametrize("version", ["0.3", "1.0"])
def test_extensions_of_a_subscription_are_attributes_when_the_version_is_later(
    version: str,
) -> None:
    event = {**EVENTS[version], "kept": 1}
    merged = with_extensions(event, version, {"color": "green", "n": 5})
    assert merged == {**event, "color": "green", "n": 5}


@pytest.mark.parametrize("version", ["0.3", "1.0"])
@pytest.mark.parametrize(
    "name", ["id", "source", "type", "specversion", "time", "subject", "data", "data_base64", "A-b"]
)
def test_extension_of_a_subscription_is_refused_when_it_would_be_an_attribute_or_data(
    version: str, name: str
) -> None:
    with pytest.raises(EventUnsendable, match=f"its extension {name} .*CloudEvents {version}"):
        with_extensions(EVENTS[version], version, {"fine": 1, name: "x"})


def test_extension_of_a_subscription_is_refused_when_1_0_does_not_allow_its_type() -> None:
    with pytest.raises(EventUnsendable, match="its extension x must be a string"):
        with_extensions(EVENT_1_0, "1.0", {"x": {"deep": 1}})


OBJECTS = st.dictionaries(TEXT, JSON, max_size=4)


@settings(max_examples=50)
@given(OBJECTS, OBJECTS, OBJECTS)
def test_merging_extensions_changes_nothing_else_and_is_idempotent(
    event: dict[str, Any], own: dict[str, Any], extensions: dict[str, Any]
) -> None:
    once = with_extensions({**event, "extensions": own}, "0.1", extensions)
    assert once == {**event, "extensions": {**own, **extensions}}
    assert with_extensions(once, "0.1", extensions) == once
