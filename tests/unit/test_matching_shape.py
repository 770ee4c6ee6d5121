"""Each expression in an index has the result of jsonpath2, whatever others are in it."""

import json
import os
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching import SubscriptionIndex, compile_jsonpath, has_match
from pacifica.notifications.matching.parser import syntax_tree
from pacifica.notifications.matching.shape import shape_of
from pacifica.notifications.matching.template import split_template
from tests.support.jsonpaths import (
    CAPTURES,
    CORPUS,
    KEYS,
    conditions,
    events,
    jsonpaths,
    reference,
)

# EXAMPLES=5000 tests each property on more examples than a usual run does.
EXAMPLES = int(os.environ.get("EXAMPLES", "30"))
unhurried = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=EXAMPLES)

# So many expressions that an index filters them by required keys. None of them matches.
PADDING = [f'$["padding {number}"]' for number in range(60)]

constants = st.sampled_from(
    [
        '"a"',
        '"b"',
        '""',
        '"\\n"',
        "0",
        "1",
        "-1",
        "1.0",
        "1e0",
        "-0.0",
        "1.5",
        "2",
        "true",
        "false",
        "null",
        "9007199254740993",
        "9007199254740992.0",
        "1e999",
        "100000000000000000000",
    ]
)
paths = st.sampled_from(
    [
        *("@", "@.a", "@.a", "@.b", '@["a"]', "@.a.b", "@[0]", "@[-1]", "$.a"),
        *("@.a[*]", "@..b", "@[*]", "@.*", "@[length()]", "@.a[substring(0, 1)]"),
        *("$.a[*]", "@[?(@.a = 1)].b", '@.b[?(@ = "a")]', "@.a[?(@ > $.b)]"),
    ]
)


@st.composite
def comparisons(draw: st.DrawFn) -> str:
    operator = draw(st.sampled_from(["=", "=", "=", "=", "!=", "<", ">=", "<=", ">"]))
    space = draw(st.sampled_from(["", " "]))
    return f"{draw(paths)}{space}{operator}{space}{draw(constants)}"


@st.composite
def filters(draw: st.DrawFn, depth: int = 2) -> str:
    form = draw(st.sampled_from(["=", "=", "=", "and", "and", "or", "not", "(", "other"]))
    if form in ("and", "or") and depth:
        parts = [draw(filters(depth - 1)) for _ in range(draw(st.integers(2, 3)))]
        return f" {form} ".join(parts)
    if form == "not" and depth:
        return f"not {draw(filters(depth - 1))}"
    if form == "(" and depth:
        return f"({draw(filters(depth - 1))})"
    if form == "other":
        return draw(conditions(1))
    return draw(comparisons())


@st.composite
def shaped(draw: st.DrawFn) -> str:
    text = "$"
    for _ in range(draw(st.integers(1, 2))):
        text += draw(
            st.sampled_from(["", "", "[*]", ".a", ".a[*]", ".b[*]", "..*", "..a", "[0:2]"])
        )
        text += f"[?({draw(filters())})]"
    return text + draw(st.sampled_from(["", "", "", ".a", '["b"]', "[*]", ".a[*].b"]))


@st.composite
def families(draw: st.DrawFn) -> list[str]:
    """Draw expressions that have the same template."""
    text = draw(shaped() | jsonpaths)
    template, own = split_template(text)
    family = [text]
    for _ in range(draw(st.integers(0, 3)) if own else 0):
        others = [draw(constants) for _ in own]
        pairs = zip(others, template.parts[1:], strict=True)
        family.append(template.parts[0] + "".join(other + part for other, part in pairs))
    return family


@st.composite
def equalities(draw: st.DrawFn) -> list[str]:
    """Draw expressions that have the same template and contain only equalities."""
    starts = ["", "[*]", ".a[*]", "..*", "..a", "[1:]", '[?(@.a = "a")].b[*]']
    start = draw(st.sampled_from(starts))
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
    family = []
    for _ in range(draw(st.integers(1, 4))):
        tests = [f"@.{key} = {draw(constants)}" for key in keys]
        family.append(f"${start}[?({' and '.join(tests)})]")
    return family


scalars = st.sampled_from(
    [
        None,
        False,
        True,
        0,
        1,
        -1,
        1.0,
        1.5,
        2,
        "",
        "a",
        "b",
        "\\n",
        "ab",
        float("nan"),
        float("inf"),
        -0.0,
        2**53 + 1,
        2.0**53,
        10**20,
    ]
)
rows = st.dictionaries(
    st.sampled_from(KEYS),
    scalars | st.lists(scalars, max_size=3) | st.dictionaries(st.sampled_from(KEYS), scalars),
    max_size=3,
)
tables = st.lists(rows | scalars, max_size=5)
likely_events = (
    tables | rows | st.dictionaries(st.sampled_from(KEYS), tables | rows | scalars, max_size=3)
)


def index_of(texts: list[str], **limits: int) -> SubscriptionIndex:
    """Return an index of expressions whose UUIDs count from 0."""
    index = SubscriptionIndex(**limits)
    for number, text in enumerate(texts):
        assert index.upsert(UUID(int=number), text) is None
    return index


def outcomes_of(index: SubscriptionIndex, count: int, event: Any) -> list[str]:
    """Return the result of matching an event, for each of `count` expressions in an index."""
    result = index.match(event)
    assert len(set(result.matched)) == len(result.matched)
    failed = {failure.uuid: "raises" for failure in result.failures}
    failed |= dict.fromkeys(result.unfinished, "exhausted")
    assert not failed.keys() & set(result.matched)
    found = dict.fromkeys(result.matched, "match") | failed
    return [found.get(UUID(int=number), "none") for number in range(count)]


def outcomes(texts: list[str], event: Any, **limits: int) -> list[str]:
    """Return the result of matching an event, for each of these expressions in one index."""
    return outcomes_of(index_of(texts, **limits), len(texts), event)


@unhurried
@given(
    families=st.lists(families(), min_size=1, max_size=6),
    event=likely_events | events,
    padding=st.sampled_from([[], [], PADDING]),
)
def test_index_agrees_with_jsonpath2_on_any_event(
    families: list[list[str]], event: Any, padding: list[str]
) -> None:
    texts = [text for family in families for text in family]
    found = outcomes([*texts, *padding], event)
    assert found[: len(texts)] == [reference(text, event) for text in texts]
    assert set(found[len(texts) :]) <= {"none"}


def alone(text: str, event: Any, budget: int) -> str:
    """Return the result of evaluating one expression outside of an index."""
    try:
        return "match" if has_match(compile_jsonpath(text), event, budget) else "none"
    except BudgetExceeded:
        return "exhausted"
    except ExpressionError:
        return "raises"


@unhurried
@given(family=families(), event=likely_events, budget=st.integers(0, 40))
def test_smaller_budget_changes_no_result_of_an_index_unless_it_is_exceeded(
    family: list[str], event: Any, budget: int
) -> None:
    for text, found in zip(family, outcomes(family, event, budget=budget), strict=True):
        assert found in ("exhausted", reference(text, event))


@unhurried
@given(family=equalities(), event=likely_events, budget=st.integers(0, 40))
def test_budget_of_a_shape_is_sufficient_when_it_is_for_the_expression_alone(
    family: list[str], event: Any, budget: int
) -> None:
    for text, found in zip(family, outcomes(family, event, budget=budget), strict=True):
        assert found != "exhausted" or alone(text, event, budget) == "exhausted"


def test_index_of_the_whole_corpus_has_the_results_that_the_corpus_gives() -> None:
    index = index_of([case["jsonpath"] for case in CORPUS])
    for number, case in enumerate(CORPUS):
        assert outcomes_of(index, len(CORPUS), case["data"])[number] == case["outcome"], case


PACIFICA = [
    '$[?(@["eventType"] = {})]',
    "$[?(@.eventType = {} and @.source = {})]",
    '$["data"][*][?(@["destinationTable"] = {} and @["value"] = {})]',
    '$["data"][*][?(@["destinationTable"] = {} and @["mimetype"] = {})]["name"]',
    "$[?(@.eventType = {})].data[*][?(@.key = {})].value",
    "$[?(@.eventType = {})].data[*][?(@.key = {})].file_id",
    "$.data[*][?(@.destinationTable = {} and @.size > {} and @.size <= {})]",
    "$.data[*][?(@.key = {} or @.value = {})]",
    "$.data.obj_primary_keys[*][?(@.id = {})]",
    "$..[?(@.value = {})]",
    "$[?(@.data[*].destinationTable = {})]",
    "$.data[*][?(not @.destinationTable = {} and @.value)]",
]


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_index_agrees_with_jsonpath2_on_pacifica_events(capture: Any) -> None:
    event = json.loads(capture.read_text())
    values = ["org.pacifica.metadata.ingest", "Files", "Tag", "Taggy", "Blah", "text/plain"]
    values += [10, 54, 54.0, "54", 128, 127, 2001, True, None]
    written = [json.dumps(value) for value in values]
    texts = [
        text.format(*(written[(first + step * 4) % len(written)] for step in range(3)))
        for text in PACIFICA
        for first in range(len(written))
    ]
    assert outcomes(texts, event) == [reference(text, event) for text in texts]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("$[?(@.a = 1)]", 1),
        ('$.data[*][?(@.a = "x" and @.b = 1.5)].c', 1),
        ("$[?(@.a = 1)].data[*][?(@.b = 2)]", 1),
        ("$..a[?(@ = 1)]", 1),
        ("$[?(@.tags[*] = 1)]", 1),
        ("$[?(@.a = 1 and @.b > 2 and @.c != 3 and @.d)]", 1),
        ("$[?(@.a = 1 or @.b = 2)]", 2),
        ("$[?(not (@.a = 1 and @.b = 2))]", 2),
        ("$[?($.a = 1)]", 1),
        ("$[?(@.tags[*] = 1 and @.names[*] = 2)]", None),
        ("$[?(@.tags[*] = 1)].data[?(@.b = 2)]", None),
        ("$[?(not @.tags[*] = 1)]", None),
        ("$[?($.tags[*] = 1)]", None),
        ("$[?(@.a = 1), 0]", None),
        ("$[@.a[?(@ = 1)]]", None),
        ("$[?(@.a[?(@ = 1)])]", None),
        ("$[?(@.a[?(@ = 1)] = 2)]", None),
        ("$[?(1 = 2)]", None),
        ("$[::0][?(@.a = 1)]", None),
        (f"$[?({' and '.join(['(@.a = 1 or @.b = 2)'] * 5)})]", None),
        (f"${'[*]' * 200}[?(@.a = 1)]", None),
        ("$" + "[?(@.a = 1)][0]" * 3, 1),
        ("$" + "[?(@.a = 1)][0]" * 4, None),
        ("$.data", None),
    ],
)
def test_shape_has_as_many_alternatives_as_expected(text: str, count: int | None) -> None:
    ways = shape_of(syntax_tree(split_template(text)[0].numbered_text()))
    assert (ways and len(ways)) == count
