"""Compiled JSONPaths find what jsonpath2 finds, within their work budget."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonpath2.subscripts.arrayslice import ArraySliceSubscript

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching import DEFAULT_BUDGET, compile_jsonpath, has_match
from pacifica.notifications.matching.evaluation import EvaluationContext
from pacifica.notifications.matching.operations import equal, slice_indices
from tests.support.jsonpaths import (
    CAPTURES,
    CORPUS,
    events,
    jsonpaths,
    no_deadline,
    reference,
    values,
)


def compiled(text: str, event: Any) -> str:
    """Return the result of evaluating a compiled expression on an event."""
    test = compile_jsonpath(text)
    try:
        return "match" if has_match(test, event) else "none"
    except BudgetExceeded:
        return "exhausted"
    except ExpressionError:
        return "raises"


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: f"{case['jsonpath']} {case['shows']}")
def test_compiled_jsonpath_has_the_result_that_the_corpus_gives(case: dict[str, Any]) -> None:
    assert compiled(case["jsonpath"], case["data"]) == case["outcome"]


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: f"{case['jsonpath']} {case['shows']}")
def test_jsonpath2_has_the_result_that_the_corpus_gives(case: dict[str, Any]) -> None:
    assert reference(case["jsonpath"], case["data"]) == case["outcome"]


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "text",
    [
        "$.data",
        "$.data[*]",
        '$[?(@.eventType = "org.pacifica.metadata.ingest")]',
        '$[?(@["eventType"] = "org.pacifica.metadata.orm" and @.data.obj_type = "files")]',
        '$.data[*][?(@.destinationTable = "Files" and @.size > 100)]',
        '$.data[*][?(@.key = "Tag" or @.key = "Taggy")].value',
        "$.data.obj_primary_keys[*][?(@.id >= 2001)]",
        '$.data[?(@.method = "insert")].obj_primary_keys[*].user',
        "$..was_created",
        '$.data[*][?(@.name[substring(-4)] = ".txt")]',
        "$.data[?(@[length()] > 8)]",
        "$[?(not @.data[*].entry)]",
    ],
)
def test_compiled_jsonpath_agrees_with_jsonpath2_on_pacifica_events(
    text: str, capture: Path
) -> None:
    event = json.loads(capture.read_text())
    assert compiled(text, event) == reference(text, event)


@settings(no_deadline, max_examples=100)
@given(text=jsonpaths, event=events)
def test_compiled_jsonpath_agrees_with_jsonpath2_on_any_event(text: str, event: Any) -> None:
    assert compiled(text, event) == reference(text, event)


@settings(no_deadline, max_examples=150)
@given(
    elements=st.integers(0, 6).map(lambda length: list(range(length))),
    bounds=st.tuples(*[st.none() | st.integers(-9, 9)] * 2),
    step=st.none() | st.integers(-9, 9).filter(bool),
)
def test_slice_selects_what_jsonpath2_does_in_the_same_order(
    elements: list[int], bounds: tuple[int | None, int | None], step: int | None
) -> None:
    theirs = ArraySliceSubscript(*bounds, step).match(elements, elements)
    ours = slice_indices(len(elements), *bounds, step)
    assert [elements[index] for index in ours] == [found.current_value for found in theirs]


@settings(no_deadline, max_examples=100)
@given(pair=st.tuples(values, values), nesting=st.integers(0, 2))
def test_equal_agrees_with_python(pair: tuple[Any, Any], nesting: int) -> None:
    left, right = pair
    for _ in range(nesting):
        left, right = {"a": [left, right]}, {"a": [left, left]}
    for other in (left, right, json.loads(json.dumps(left))):
        assert equal(left, other, EvaluationContext(None, 1000)) == (left == other)


@settings(no_deadline, max_examples=50)
@given(text=jsonpaths, event=events, budget=st.integers(0, 30))
def test_smaller_budget_changes_no_result_unless_it_is_exceeded(
    text: str, event: Any, budget: int
) -> None:
    test = compile_jsonpath(text)
    try:
        outcome = "match" if has_match(test, event, budget) else "none"
    except BudgetExceeded:
        return
    except ExpressionError:
        outcome = "raises"
    assert outcome == compiled(text, event)


def test_error_keeps_its_cause_when_a_step_is_0() -> None:
    with pytest.raises(ExpressionError) as caught:
        has_match(compile_jsonpath("$[::0]"), [])
    assert isinstance(caught.value.__cause__, ValueError)


def test_slice_costs_only_existing_elements_when_it_is_longer_than_the_array() -> None:
    assert not has_match(compile_jsonpath("$[0:100000000].a"), [1, 2, 3], budget=10)


def test_slice_costs_only_existing_elements_when_it_starts_after_the_array() -> None:
    test = compile_jsonpath("$[100000000:0:-3][?(@ = 1)]")
    assert has_match(test, [0, 1, 2, 3], budget=10)


def test_first_match_ends_the_search_before_the_rest_exceeds_the_budget() -> None:
    assert has_match(compile_jsonpath("$..a"), [{"a": 1}, *range(1000)], budget=10)


def hostile_event() -> dict[str, Any]:
    rows = [{"a": [index, index + 1], "b": {"c": "x" * 60}} for index in range(300)]
    pairs: Any = 1
    for _ in range(25):
        pairs = [pairs, pairs]
    return {
        "data": rows,
        "copy": json.loads(json.dumps(rows)),
        "long": ["y" * 50_000, "y" * 49_999 + "z"],
        "texts": {"y" * 50_000: 1},
        "pairs": pairs,
    }


HOSTILE = hostile_event()


@pytest.mark.parametrize(
    "text",
    [
        "$..*..*..*[?(@ = 17.5)]",
        "$.data[*][?($.data..* = 17.5)]",
        "$.data[*][?($.data = $.copy and 1 = 2)]",
        "$.data[*][?($.data != $.copy)]",
        "$.data[*][?(@ = $.copy[*])].none",
        "$.data[*][?($.data[entries()] = 17.5)]",
        "$.data[*][?($.data[keys()] = 17.5)]",
        "$.data[*][?($.data[values()] = 17.5)]",
        "$.data[*][?($.data[0:300] = 17.5)]",
        "$.data[*][?($.long[0] = $.long[1])]",
        "$.data[*][?($.long[0][substring(1)] = 17.5)]",
        "$.data[*][?($.texts[$.long[0]].none)]",
        '$.data[*].b.c[substring($.data[*].a[0], $.data[*].a[1])][?(@ = "none")]',
        "$.data[*].b.c[charAt($.data[*].a[0])].none",
        "$.pairs" + "[*]" * 25 + ".none",
        "$.pairs" + "[0, 1]" * 25 + ".none",
        "$.pairs" + "[0:2]" * 25 + ".none",
        "$.pairs" + "[0, 0, 0]" * 25 + ".none",
        "$.pairs" + '[?(1), ?("x")]' * 25 + ".none",
        "$.pairs" + "[$.data[0:2].a[0]]" * 25 + ".none",
        f"$.data[*].b.c[{', '.join(['*'] * 300)}]",
        f"$.data[*][?({' or '.join(['1 = 2'] * 400)})]",
        f"$.data[*][?({' or '.join(['@.a = 1.5'] * 300)})]",
        f"$.data[*][?({' and '.join(['@.a'] * 300)} and 1 = 2)]",
    ],
    ids=lambda text: text[:60],
)
def test_budget_is_exceeded_when_an_evaluation_would_take_too_long(text: str) -> None:
    with pytest.raises(BudgetExceeded, match="10000 steps"):
        has_match(compile_jsonpath(text), HOSTILE, budget=10_000)


def test_budget_has_a_default() -> None:
    with pytest.raises(BudgetExceeded, match=f"{DEFAULT_BUDGET} steps"):
        has_match(compile_jsonpath("$.pairs" + "[*]" * 25 + ".none"), HOSTILE)


def nested(levels: int) -> Any:
    event: Any = {"deep": 1}
    for _ in range(levels):
        event = {"a": [event]}
    return event


@pytest.mark.parametrize("levels", [500, 5000])
@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("$..deep", True),
        ("$..*..*..deep", True),
        ("$..none", False),
        ("$[?($..deep = 1)]", True),
        ("$[?(@ = $)]", True),
        ("$..a[*][?(@.a[0] = @.a[*] and @.none)]", False),
    ],
)
def test_event_is_searched_completely_when_it_is_deeper_than_python_recurses(
    text: str, levels: int, found: bool
) -> None:
    budget = 100_000_000
    assert has_match(compile_jsonpath(text), nested(levels), budget) == found


def test_equal_compares_completely_when_values_are_deeper_than_python_recurses() -> None:
    assert equal(nested(5000), nested(5000), EvaluationContext(None, 100_000))
    assert not equal(nested(5000), nested(4999), EvaluationContext(None, 100_000))


def test_compile_accepts_the_longest_path_that_the_parser_accepts() -> None:
    assert not has_match(compile_jsonpath("$" + "[*]" * 700), [[[1]]])


def test_compile_refuses_brackets_that_are_nested_too_deep() -> None:
    with pytest.raises(ExpressionError, match="too deep"):
        compile_jsonpath("$" + "[@" * 2000 + "]" * 2000, max_length=10_000)


def test_evaluation_raises_when_it_reaches_the_recursion_limit() -> None:
    test = compile_jsonpath("$" + "[*]" * 700)
    event: Any = 1
    for _ in range(701):
        event = [event]

    def from_depth(levels: int) -> bool:
        return from_depth(levels - 1) if levels else has_match(test, event)

    with pytest.raises(ExpressionError, match="too deep"):
        from_depth(400)
