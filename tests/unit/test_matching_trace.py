"""A trace finds what jsonpath2 finds, and says in words what stood in the way."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonpath2.path import Path as JsonPath

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching import compile_jsonpath, has_match, hints
from pacifica.notifications.matching.trace import Trace, TraceResult, trace_jsonpath
from tests.support.jsonpaths import CAPTURES, CORPUS, events, jsonpaths, no_deadline

INGEST = json.loads((Path(__file__).parents[1] / "captures" / "ingest.json").read_text())


def verdict_of(text: str, event: Any) -> TraceResult:
    try:
        return (
            TraceResult.MATCH if has_match(compile_jsonpath(text), event) else TraceResult.NO_MATCH
        )
    except ExpressionError:
        return TraceResult.ERROR


def found_by_jsonpath2(text: str, event: Any) -> list[Any]:
    """Return the values before jsonpath2 raises, if it does."""
    found = []
    try:
        for match in JsonPath.parse_str(text).match(event):
            found.append(match.current_value)
    except ValueError:
        pass
    return found


def agrees(text: str, event: Any) -> None:
    trace = trace_jsonpath(text, event)
    assert trace.result == verdict_of(text, event)
    found = found_by_jsonpath2(text, event)
    assert trace.count == len(found)
    assert [json.dumps(each.value) for each in trace.found] == [json.dumps(v) for v in found[:20]]


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: f"{case['jsonpath']} {case['shows']}")
def test_trace_agrees_with_jsonpath2_on_the_corpus(case: dict[str, Any]) -> None:
    if case["jsonpath"].startswith("$"):
        agrees(case["jsonpath"], case["data"])


@settings(no_deadline, max_examples=300)
@given(text=jsonpaths, event=events)
def test_trace_agrees_with_jsonpath2_on_any_event(text: str, event: Any) -> None:
    agrees(text, event)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_path_of_what_a_trace_found_leads_there(capture: Path) -> None:
    event = json.loads(capture.read_text())
    found = trace_jsonpath("$..*", event).found
    assert found
    for each in found:
        assert [m.current_value for m in JsonPath.parse_str(each.path).match(event)] == [each.value]


def conditions_of(trace: Trace) -> list[tuple[str, int, int]]:
    (filtered,) = [step for step in trace.steps if step.conditions]
    (whole,) = filtered.conditions
    return [(each.text, each.tested, each.held) for each in whole.parts or (whole,)]


def test_trace_counts_what_each_step_and_each_condition_lets_through() -> None:
    trace = trace_jsonpath('$.data[*][?(@.destinationTable = "Files" and @.size > 100)]', INGEST)
    assert [(step.entered, step.selected) for step in trace.steps] == [(1, 1), (1, 9), (9, 1)]
    assert conditions_of(trace) == [
        ('@["destinationTable"] = "Files"', 9, 2),
        ('@["size"] > 100', 2, 1),
    ]


HINTS = {
    '$.data[*][?(@.destinationTable = "files")]': 'the text "Files": capitals and spaces count',
    '$.data[*][?(@.destinationtable = "Files")]': 'but "destinationTable": capitals count',
    '$.data[*][?(@.mimetipe = "text/plain")]': 'the nearest is "mimetype"',
    '$.data[*][?(@.mimetype = "text/plan")]': 'the nearest value is the text "text/plain"',
    '$.data[*][?(@.size = "128")]': "is the number 128, and the filter compares it with the",
    '$.data[*][?(@.size = "7")]': "and the filter compares it with the text",
    "$.data[*][?(@.mimetype > 3)]": "and the filter compares it with the number 3",
    '$.data[*][?(@.size > "3")]': "only numbers have an order",
    "$.data[*][?(@.size > 1000000)]": "the values are between 4 and 128",
    "$.data[*][?(@.size = 1)]": "the nearest value is the number 4",
    '$.data[*][?(@.mimetype = "zzz")]': 'a value that it met is the text "text/plain"',
    "$.data[*][?(@.nmae)]": 'the nearest is "name"',
    "$.data[*][?(@.zzz)]": 'there is no key "zzz"; the keys are "destinationTable", ',
    '$[?(@.eventID != "metadata.ingest.2001")]': "all values are",
    "$[?(@.data.size = 4)]": 'its elements have "size"; write [*] before it',
    "$[?(@.data = 4)]": "the value is an array with 9 elements",
    '$.data[?(@.destinationTable = "Files")]': "write [*] before it, to test each",
    "$.data.size": 'its elements have "size"; write [*] before it',
    "$.data.zzz": 'the value is an array, which has no key "zzz"',
    "$.Data": 'there is no key "Data", but "data"',
    "$.eventType.name": 'has no keys, and so no "name"',
    "$.eventType[*]": "which has no elements",
    "$.eventType[0]": "is no array",
    "$.data[99]": "no array has an element [99]; the longest has 9",
    "$.data[*][?(@.size = 4 or @.size = 128 and @.zzz)]": "`or` binds closer than `and`",
}


def hints_of(trace: Trace) -> list[str]:
    conditions = [each for step in trace.steps for each in step.conditions]
    for each in conditions:
        conditions += each.parts
    return [each.hint for each in (*trace.steps, *conditions) if each.hint]


@pytest.mark.parametrize("text", HINTS)
def test_trace_hints_at_the_usual_mistakes(text: str) -> None:
    trace = trace_jsonpath(text, INGEST)
    assert trace.result == TraceResult.NO_MATCH
    assert any(HINTS[text] in hint for hint in hints_of(trace)), hints_of(trace)


def test_hint_at_an_array_that_contains_the_constant() -> None:
    (hint,) = hints_of(trace_jsonpath('$[?(@.tags = "red")]', {"tags": ["blue", "red"]}))
    assert hint == 'the value is an array that contains "red"; write [*] after it'


class Watched(list[int]):
    """An array that counts how often somebody looks into it."""

    looks = 0

    def __getitem__(self, place: Any) -> Any:
        Watched.looks += 1
        return super().__getitem__(place)


def test_hint_looks_at_a_few_of_very_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watched, "looks", 0)
    repeated = ",".join("*" * 150)
    trace = trace_jsonpath(f"$.data[{repeated}].zzz", {"data": [Watched([0] * 9)] * 100})
    assert trace.steps[-1].entered == 15_000
    assert trace.steps[-1].hint == 'the value is an array, which has no key "zzz"'
    assert Watched.looks <= 200


def test_hint_compares_no_long_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def match(word: str, possible: list[str], _count: int) -> list[str]:
        compared.extend([word, *possible])
        return []

    monkeypatch.setattr(hints, "get_close_matches", match)
    long = "x" * 4000
    event = {"data": [{"a": "y" * 4000, "b": "z", long: 1}]}
    for text in (
        f'$.data[*][?(@.a = "{long}")]',
        '$.data[*][?(@.a = "y")]',
        f'$.data[0]["{long}y"]',
    ):
        assert hints_of(trace_jsonpath(text, event, max_length=9000))
    assert compared
    assert max(map(len, compared)) <= 64


def test_hint_takes_numbers_of_any_size() -> None:
    event = {"data": [{"a": 10**400}, {"a": -1.5}]}
    (hint,) = hints_of(trace_jsonpath("$.data[*][?(@.a = 1.5)]", event))
    assert hint == "the nearest value is the number -1.5"


def test_trace_that_takes_too_long_says_so_and_keeps_what_it_counted() -> None:
    trace = trace_jsonpath("$..[?($..[?($..[?(@ = 7)])])]", INGEST, budget=10_000)
    assert (trace.result, trace.is_complete) == (TraceResult.OVER_BUDGET, False)
    assert trace.error == "needs more than 10000 steps on this event"
    assert trace.steps[0].selected == 56


def test_trace_of_what_does_not_parse_raises() -> None:
    with pytest.raises(ExpressionError):
        trace_jsonpath("$.data[", INGEST)
