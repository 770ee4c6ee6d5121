"""Structured mode and batches, with the examples of the JSON formats 1.0.2 and 0.3."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.events import structured
from pacifica.notifications.events.schemas import (
    EVENT_SCHEMA_0_1,
    EVENT_SCHEMA_0_3,
    EVENT_SCHEMA_1_0,
)
from pacifica.notifications.events.structured import structured_batch, structured_event
from pacifica.notifications.validation import Schema

EVENT = {"specversion": "1.0", "id": "i", "source": "s", "type": "t"}
OF_0_1 = {"cloudEventsVersion": "0.1", "eventType": "t", "source": "s", "eventID": "i"}
#: Section 3.2 of the JSON format 1.0.2; where it has dots for Base64, here is some.
EXAMPLE = {
    "specversion": "1.0",
    "type": "com.example.someevent",
    "source": "/mycontext",
    "id": "A234-1234-1234",
    "time": "2018-04-05T17:31:00Z",
    "comexampleextension1": "value",
    "comexampleothervalue": 5,
}
OBJECT = {"appinfoA": "abc", "appinfoB": 123, "appinfoC": True}
EXAMPLES = {
    "binary": {
        **EXAMPLE,
        "datacontenttype": "application/vnd.apache.thrift.binary",
        "data_base64": "AAEC/w==",
    },
    "XML": {
        **EXAMPLE,
        "unsetextension": None,
        "datacontenttype": "application/xml",
        "data": '<much wow="xml"/>',
    },
    "object": {**EXAMPLE, "subject": None, "datacontenttype": "application/json", "data": OBJECT},
    "text": {**EXAMPLE, "subject": None, "data": "I'm just a string"},
}
#: Section 3.2 of the JSON format 0.3.
EXAMPLES_0_3 = {
    "XML": {
        **EXAMPLE,
        "specversion": "0.3",
        "comexampleextension2": {"othervalue": 5},
        "datacontenttype": "text/xml",
        "data": '<much wow="xml"/>',
    },
    "binary": {
        **EXAMPLE,
        "specversion": "0.3",
        "datacontenttype": "application/vnd.apache.thrift.binary",
        "datacontentencoding": "base64",
        "data": "AAEC/w==",
    },
    "object": {
        **EXAMPLE,
        "specversion": "0.3",
        "datacontenttype": "application/json",
        "data": OBJECT,
    },
}


def stored(document: Any, require_version: bool = False) -> dict[str, Any]:
    return structured_event(document, require_version=require_version)[0]


def problems(document: Any, require_version: bool = False) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as refusal:
        structured_event(document, require_version=require_version)
    return list(refusal.value.problems)


@pytest.mark.parametrize("example", [*EXAMPLES.values(), *EXAMPLES_0_3.values()])
def test_example_of_the_json_format_is_kept_without_null_attributes(
    example: dict[str, Any],
) -> None:
    event, version = structured_event(example, require_version=True)
    assert version == example["specversion"]
    assert event == {name: value for name, value in example.items() if value is not None}
    assert list(event) == [name for name, value in example.items() if value is not None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("type", "com.example.someevent"), ("specversion", "1.0"), ("source", "/mycontext")),
        *(("subject", "larger-context"), ("subject", None), ("id", "1234-1234-1234")),
        *(("time", "2018-04-05T17:31:00Z"), ("time", None)),
        ("datacontenttype", "application/json"),
    ],
)
def test_attribute_has_the_value_of_the_specifications_table(name: str, value: Any) -> None:
    assert stored({**EVENT, name: value}).get(name) == value


@pytest.mark.parametrize("data", [None, "x", "[1]", 0, 2**70, 1.5, False, [], {"a": [None]}, "\0é"])
@pytest.mark.parametrize("version", ["0.3", "1.0"])
def test_data_of_any_type_is_kept(version: str, data: Any) -> None:
    event = {**EVENT, "specversion": version, "data": data}
    assert stored(event) == event


def test_null_data_is_kept_and_null_data_base64_is_dropped() -> None:
    assert stored({**EVENT, "data": None}) == {**EVENT, "data": None}
    assert stored({**EVENT, "data_base64": None}) == EVENT
    assert stored({**EVENT, "data": 1, "data_base64": None}) == {**EVENT, "data": 1}


@pytest.mark.parametrize("data", [None, "x", {}])
def test_event_is_refused_when_it_has_data_and_data_base64(data: Any) -> None:
    ((field, _),) = problems({**EVENT, "data": data, "data_base64": "AA=="})
    assert field == "data_base64"


@pytest.mark.parametrize("encoded", ["A", "AA", "é", "AA==AA", 5, {}, ["AA=="], True])
def test_event_of_1_0_is_refused_when_its_data_base64_is_malformed(encoded: Any) -> None:
    assert [field for field, _ in problems({**EVENT, "data_base64": encoded})] == ["data_base64"]


def test_event_of_0_3_is_refused_when_its_base64_data_is_malformed() -> None:
    event = {**EVENT, "specversion": "0.3", "datacontentencoding": "Base64", "data": "A"}
    assert problems(event) == [("data", "must be Base64")]


def test_event_of_0_3_may_have_line_breaks_in_its_base64() -> None:
    event = {**EVENT, "specversion": "0.3", "datacontentencoding": "base64", "data": "AA\r\nEC\n"}
    assert stored(event) == {**event, "data": "AAEC"}


@pytest.mark.parametrize("data", [{"data": {"a": 1}}, {"data": None}, {}])
def test_datacontentencoding_is_dropped_when_data_is_not_text(data: dict[str, Any]) -> None:
    event = {**EVENT, "specversion": "0.3", **data}
    assert stored({**event, "datacontentencoding": "base64"}) == event


@pytest.mark.parametrize(
    "version", ["0.2", "2.0", "1.0.2", "", "0.1", 1.0, 1, None, True, ["1.0"], {}]
)
def test_event_is_refused_when_its_version_is_unknown(version: Any) -> None:
    assert [field for field, _ in problems({**EVENT, "specversion": version})] == ["specversion"]


@pytest.mark.parametrize("first", ["0.1", None])
@pytest.mark.parametrize("second", ["1.0", "0.3", None])
def test_event_is_refused_when_it_has_both_version_members(first: Any, second: Any) -> None:
    event = {**EVENT, **OF_0_1, "cloudEventsVersion": first, "specversion": second}
    assert problems(event) == [
        ("specversion", "must not be given together with cloudEventsVersion")
    ]


def test_object_is_kept_unchanged_when_it_names_no_version_and_none_is_required() -> None:
    document = {"Any-Name": {"a": None}, "data": 1}
    assert structured_event(document, require_version=False) == (document, "")
    assert problems(document, require_version=True) == [("specversion", "is required")]


@pytest.mark.parametrize("document", [[], [EVENT], "x", 1, None, True])
def test_event_is_refused_when_it_is_not_an_object(document: Any) -> None:
    assert problems(document) == [("body", "must be a JSON object")]


def test_event_of_0_1_gets_empty_extensions_when_it_has_none() -> None:
    assert stored(OF_0_1) == {**OF_0_1, "extensions": {}}
    assert stored({**OF_0_1, "extensions": None, "data": 1})["extensions"] == {}
    assert structured_event(OF_0_1, require_version=True)[1] == "0.1"


@pytest.mark.parametrize("document", [OF_0_1, *EXAMPLES.values(), *EXAMPLES_0_3.values(), {"a": 1}])
def test_document_that_is_read_is_not_modified(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    stored(document)
    assert document == before


def test_event_is_refused_with_at_most_twenty_problems() -> None:
    event = {**EVENT, **{f"A{number}": 1 for number in range(10_000)}}
    assert len(problems(event)) == 20


# Batches.


def test_example_batch_of_the_json_format_is_kept_in_order() -> None:
    first = {**EXAMPLES["binary"], "id": "B234-1234-1234", "source": "/mycontext/4"}
    second = {**EXAMPLES["object"], "type": "com.example.someotherevent"}
    del second["subject"]
    assert structured_batch([first, second]) == [(first, "1.0"), (second, "1.0")]


def test_batch_may_be_empty_and_have_any_version() -> None:
    assert structured_batch([]) == []
    for event, version in ((OF_0_1, "0.1"), ({**EVENT, "specversion": "0.3"}, "0.3")):
        assert [each for _, each in structured_batch([event, event])] == [version] * 2


def test_batch_is_refused_when_its_events_differ_in_version() -> None:
    batch = [EVENT, {**EVENT, "specversion": "0.3"}, EVENT, OF_0_1]
    with pytest.raises(InvalidInput) as refusal:
        structured_batch(batch)
    assert [field for field, _ in refusal.value.problems] == [
        "1.specversion",
        "3.cloudEventsVersion",
    ]


def test_batch_is_refused_with_the_index_of_each_event_that_is_wrong() -> None:
    batch = [EVENT, {**EVENT, "source": ""}, {}, 5, {**OF_0_1, "eventID": 1}]
    with pytest.raises(InvalidInput) as refusal:
        structured_batch(batch)
    assert [field for field, _ in refusal.value.problems] == [
        *("1.source", "2.specversion", "3", "4.eventID")
    ]


def test_batch_is_refused_with_at_most_twenty_problems() -> None:
    with pytest.raises(InvalidInput) as refusal:
        structured_batch([{}] * 1000)
    assert len(refusal.value.problems) == 20


# The schemas, by which the API is described, say the same.


@given(
    st.fixed_dictionaries(
        {"cloudEventsVersion": st.sampled_from(["0.1", "0.2", 0.1, None])},
        optional={
            name: st.sampled_from([None, "", "x", 0, True, [], {}, {"a": 1}])
            for name in (*EVENT_SCHEMA_0_1["properties"], "data")
            if name != "cloudEventsVersion"
        },
    )
)
def test_fast_check_of_0_1_agrees_with_the_schema(
    document: dict[str, Any],
) -> None:
    assert structured._is_valid_0_1(document) == follows(EVENT_SCHEMA_0_1, document)


def follows(schema: dict[str, Any], document: Any) -> bool:
    try:
        Schema(schema).check(document)
    except InvalidInput:
        return False
    return True


#: What the schemas cannot say: which dates there are, and which texts are Base64.
VALUES = st.sampled_from(
    [None, "", "x", "a/b", "2020-01-01T00:00:00Z", "AA==", 0, True, 2**31, 1.5, [], {"a": 1}]
)
NAMES = st.sampled_from(
    [*EVENT_SCHEMA_1_0["properties"], "schemaurl", "datacontentencoding", "own", "Own", "0x", "a-b"]
)


@given(st.sampled_from(["0.3", "1.0"]), st.dictionaries(NAMES, VALUES, max_size=4))
def test_event_is_accepted_exactly_when_it_follows_its_schema(
    version: str, changed: dict[str, Any]
) -> None:
    document = {**EVENT, **changed, "specversion": version}
    schema = EVENT_SCHEMA_1_0 if version == "1.0" else EVENT_SCHEMA_0_3
    try:
        structured_event(document, require_version=True)
    except InvalidInput as error:
        fields = {field for field, _ in error.problems}
        unsaid = {"time", "data_base64", "data"}
        assert not follows(schema, document) or fields <= unsaid
    else:
        assert follows(schema, document)
