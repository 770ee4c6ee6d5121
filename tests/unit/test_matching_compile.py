"""Compiled JSONPaths find what jsonpath2 finds, within their budget."""

import json
from pathlib import Path
from typing import Any

import jsonpath2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonpath2.subscripts.arrayslice import ArraySliceSubscript

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching import DEFAULT_BUDGET, compile_jsonpath, has_match
from pacifica.notifications.matching.evaluation import EvaluationContext
from pacifica.notifications.matching.operations import equal, slice_indices

CORPUS = json.loads(Path(__file__).with_name("jsonpath_corpus.json").read_text())
CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*.json"))

# What takes long on a busy machine is not wrong.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Expressions and data share their few keys and constants, so that they often match.
KEYS = ("a", "b", "aa")
SCALARS = (None, False, True, 0, 1, 2, -1, 1.0, 1.5, "", "a", "b", "aa", "aab")
INTEGERS = st.integers(-4, 4)

scalars = st.sampled_from(SCALARS)
values = st.recursive(
    scalars | st.just(float("nan")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
    max_leaves=12,
)
records = st.lists(st.dictionaries(st.sampled_from(KEYS), values, max_size=3), max_size=3)
events = values | records | st.dictionaries(st.sampled_from(KEYS), records, max_size=3)


@st.composite
def literals(draw: st.DrawFn) -> str:
    nested = st.lists(scalars, max_size=2) | st.dictionaries(
        st.sampled_from(KEYS), scalars | st.lists(scalars, max_size=2), max_size=2
    )
    return json.dumps(draw(st.one_of(scalars, scalars, nested)))


@st.composite
def calls(draw: st.DrawFn, depth: int) -> str:
    name, usual = draw(
        st.sampled_from(
            [("charAt", 1), ("substring", 1), ("substring", 2)]
            + [(name, 0) for name in ("entries", "keys", "length", "values")]
        )
    )
    count = draw(st.sampled_from([usual] * 5 + [0, 1, 2, 3]))
    argument = st.one_of(INTEGERS.map(str), INTEGERS.map(str), operands(depth))
    return f"{name}({', '.join(draw(argument) for _ in range(count))})"


@st.composite
def slices(draw: st.DrawFn) -> str:
    part = st.just("") | INTEGERS.map(str)
    step = st.just("") | INTEGERS.filter(bool).map(str) | st.sampled_from(["-1", "2", "0"])
    return draw(part) + ":" + draw(part) + draw(st.just("") | step.map(":{}".format))


@st.composite
def subscriptables(draw: st.DrawFn, depth: int) -> str:
    choices = [
        st.sampled_from(KEYS).map(json.dumps),
        INTEGERS.map(str),
        slices(),
        st.just("*"),
    ]
    if depth:
        choices += [
            calls(depth - 1),
            conditions(depth - 1).map("?({})".format),
            conditions(depth - 1).map("?({})".format),
            tails(depth - 1).map("@{}".format),
            tails(depth - 1).map("${}".format),
        ]
    return draw(st.one_of(choices))


@st.composite
def segments(draw: st.DrawFn, depth: int) -> str:
    bareword = st.one_of(st.sampled_from(KEYS), st.just("*"), st.sampled_from(KEYS), calls(0))
    brackets = st.lists(subscriptables(depth), min_size=1, max_size=2).map(
        lambda parts: f"[{', '.join(parts)}]"
    )
    prefix = draw(st.sampled_from([".", ".", ".", "..", "[", "[", "[", "..["]))
    if prefix.endswith("["):
        return prefix[:-1] + draw(brackets)
    return prefix + draw(bareword)


def tails(depth: int) -> st.SearchStrategy[str]:
    return st.lists(segments(depth), max_size=3).map("".join)


def operands(depth: int) -> st.SearchStrategy[str]:
    return st.one_of(
        tails(depth).map("@{}".format),
        tails(depth).map("@{}".format),
        tails(depth).map("${}".format),
        literals(),
    )


@st.composite
def conditions(draw: st.DrawFn, depth: int) -> str:
    form = draw(st.sampled_from(["{} {op} {}"] * 6 + ["{}"] * 2 + ["not", "(", "and", "or"]))
    if form in ("and", "or") and depth:
        parts = [draw(conditions(depth - 1)) for _ in range(draw(st.integers(2, 3)))]
        return f" {form} ".join(parts)
    if form == "not" and depth:
        return f"not {draw(conditions(depth - 1))}"
    if form == "(" and depth:
        return f"({draw(conditions(depth - 1))})"
    if "op" in form:
        operator = draw(st.sampled_from(["=", "=", "!=", "<", "<=", ">", ">="]))
        return f"{draw(operands(depth))} {operator} {draw(operands(depth))}"
    return draw(operands(depth))


jsonpaths = tails(2).map("${}".format)


def reference(text: str, event: Any) -> str:
    """Tell what jsonpath2 itself makes of an event."""
    try:
        return "none" if next(iter(jsonpath2.match(text, event)), None) is None else "match"
    except ValueError:
        return "raises"


def compiled(text: str, event: Any) -> str:
    """Tell what the compiled expression makes of an event."""
    test = compile_jsonpath(text)
    try:
        return "match" if has_match(test, event) else "none"
    except BudgetExceeded:
        return "exhausted"
    except ExpressionError:
        return "raises"


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: f"{case['jsonpath']} {case['shows']}")
def test_compiled_does_what_the_corpus_says(case: dict[str, Any]) -> None:
    assert compiled(case["jsonpath"], case["data"]) == case["outcome"]


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: f"{case['jsonpath']} {case['shows']}")
def test_jsonpath2_does_what_the_corpus_says(case: dict[str, Any]) -> None:
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
def test_compiled_agrees_with_jsonpath2_on_pacifica_events(text: str, capture: Path) -> None:
    event = json.loads(capture.read_text())
    assert compiled(text, event) == reference(text, event)


@settings(unhurried, max_examples=100)
@given(text=jsonpaths, event=events)
def test_compiled_agrees_with_jsonpath2_on_any_event(text: str, event: Any) -> None:
    assert compiled(text, event) == reference(text, event)


@settings(unhurried, max_examples=150)
@given(
    elements=st.integers(0, 6).map(lambda length: list(range(length))),
    bounds=st.tuples(*[st.none() | st.integers(-9, 9)] * 2),
    step=st.none() | st.integers(-9, 9).filter(bool),
)
def test_slice_has_the_elements_and_the_order_of_jsonpath2(
    elements: list[int], bounds: tuple[int | None, int | None], step: int | None
) -> None:
    theirs = ArraySliceSubscript(*bounds, step).match(elements, elements)
    ours = slice_indices(len(elements), *bounds, step)
    assert [elements[index] for index in ours] == [found.current_value for found in theirs]


@settings(unhurried, max_examples=100)
@given(pair=st.tuples(values, values), nesting=st.integers(0, 2))
def test_equal_is_what_python_says(pair: tuple[Any, Any], nesting: int) -> None:
    left, right = pair
    for _ in range(nesting):
        left, right = {"a": [left, right]}, {"a": [left, left]}
    for other in (left, right, json.loads(json.dumps(left))):
        assert equal(left, other, EvaluationContext(None, 1000)) == (left == other)


@settings(unhurried, max_examples=50)
@given(text=jsonpaths, event=events, budget=st.integers(0, 30))
def test_smaller_budget_gives_the_same_or_is_exceeded(text: str, event: Any, budget: int) -> None:
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


def test_slice_costs_its_elements_when_it_is_far_longer_than_the_array() -> None:
    assert not has_match(compile_jsonpath("$[0:100000000].a"), [1, 2, 3], budget=10)


def test_slice_costs_its_elements_when_it_starts_far_behind_the_array() -> None:
    test = compile_jsonpath("$[100000000:0:-3][?(@ = 1)]")
    assert has_match(test, [0, 1, 2, 3], budget=10)


def test_first_match_ends_the_search_when_the_rest_exceeds_the_budget() -> None:
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
def test_budget_is_exceeded_when_an_evaluation_would_take_long(text: str) -> None:
    with pytest.raises(BudgetExceeded, match="10000 steps"):
        has_match(compile_jsonpath(text), HOSTILE, budget=10_000)


def test_budget_is_bounded_when_none_is_given() -> None:
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
def test_deep_event_is_searched_to_the_bottom(text: str, levels: int, found: bool) -> None:
    budget = 100_000_000
    assert has_match(compile_jsonpath(text), nested(levels), budget) == found


def test_equal_compares_to_the_bottom_when_both_are_deep() -> None:
    assert equal(nested(5000), nested(5000), EvaluationContext(None, 100_000))
    assert not equal(nested(5000), nested(4999), EvaluationContext(None, 100_000))


def test_compile_takes_long_chains_when_the_parser_does() -> None:
    assert not has_match(compile_jsonpath("$" + "[*]" * 700), [[[1]]])


def test_compile_refuses_brackets_in_brackets_when_they_are_too_deep() -> None:
    with pytest.raises(ExpressionError, match="too deep"):
        compile_jsonpath("$" + "[@" * 2000 + "]" * 2000, max_length=10_000)


def test_evaluation_is_an_error_when_python_recurses_too_deep() -> None:
    test = compile_jsonpath("$" + "[*]" * 700)
    event: Any = 1
    for _ in range(701):
        event = [event]

    def from_depth(levels: int) -> bool:
        return from_depth(levels - 1) if levels else has_match(test, event)

    with pytest.raises(ExpressionError, match="too deep"):
        from_depth(400)
