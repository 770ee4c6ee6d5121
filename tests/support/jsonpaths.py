"""JSONPaths and events for tests of matching, and what jsonpath2 makes of them."""

import json
from pathlib import Path
from typing import Any

import jsonpath2
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: JSONPaths with data, and what evaluating them there must result in.
CORPUS = json.loads(Path(__file__).with_name("jsonpath_corpus.json").read_text())
#: Events as Pacifica's services send them.
CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*.json"))

# A busy machine may be slow without anything being wrong.
no_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Expressions and data have the same few keys and constants, so that they often match.
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
    """Return the result of jsonpath2 itself on an event."""
    try:
        return "none" if next(iter(jsonpath2.match(text, event)), None) is None else "match"
    except ValueError:
        return "raises"
