"""Say in a sentence why a step or a condition of a JSONPath let nothing through."""

import json
import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any

from jsonpath2.expression import Expression
from jsonpath2.expressions.operator import (
    AndVariadicOperatorExpression,
    BinaryOperatorExpression,
    EqualBinaryOperatorExpression,
    NotEqualBinaryOperatorExpression,
    OrVariadicOperatorExpression,
)
from jsonpath2.expressions.some import SomeExpression
from jsonpath2.node import Node
from jsonpath2.nodes.root import RootNode
from jsonpath2.nodes.subscript import SubscriptNode
from jsonpath2.subscripts.filter import FilterSubscript

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching.compiler import compile_path
from pacifica.notifications.matching.conditions import compile_condition
from pacifica.notifications.matching.evaluation import EvaluationContext
from pacifica.notifications.matching.operations import ABSENT, child
from pacifica.notifications.matching.syntax_tree import path_nodes, single_step

# Steps that one hint may take.
_BUDGET = 20_000
# How many values and keys are looked at, and how long a text may be that is compared or shown.
# More would take long, whatever the budget of the trace.
_MAX_COMPARED, _MAX_TEXT, _MAX_SHOWN = 200, 64, 60


def step_hint(node: Node, values: Sequence[Any]) -> str | None:
    """Return why a step selected nothing from values; None if that cannot be told."""
    values = values[:_MAX_COMPARED]
    step = single_step(node)
    if step is not None:
        return _missing(step, values)
    if isinstance(node, SubscriptNode) and isinstance(node.subscripts[0], FilterSubscript):
        lists = [value for value in values if isinstance(value, list)]
        if lists and len(lists) == len(values):
            return (
                f"the filter tests the whole array of {_count(len(lists[0]), 'element')}; "
                "write [*] before it, to test each of them"
            )
        return None
    scalars = [value for value in values if not isinstance(value, (list, dict))]
    if scalars and len(scalars) == len(values):
        return f"the value is {_described(scalars[0])}, which has no elements"
    return None


def condition_hint(expression: Expression, refused: Sequence[Any], root: Any) -> str | None:
    """Return why a condition held for none of the values that it refused; None if unknown."""
    if isinstance(expression, SomeExpression) and isinstance(expression.next_node_or_value, Node):
        return _path_hint(expression.next_node_or_value, refused, root)
    if isinstance(expression, AndVariadicOperatorExpression):
        return _binding_hint(expression, refused, root)
    if not isinstance(expression, BinaryOperatorExpression):
        return None
    left, right = expression.left_node_or_value, expression.right_node_or_value
    path, constant = (left, right) if isinstance(left, Node) else (right, left)
    if not isinstance(path, Node) or isinstance(constant, Node):
        return None
    found = _values(path, refused, root)
    if not found:
        return _path_hint(path, refused, root)
    if isinstance(expression, EqualBinaryOperatorExpression):
        return _unequal_hint(found, constant)
    if isinstance(expression, NotEqualBinaryOperatorExpression):
        return f"all values are {_shown(constant)}"
    return _order_hint(found, constant)


def _binding_hint(
    expression: AndVariadicOperatorExpression, refused: Sequence[Any], root: Any
) -> str | None:
    """Say so if a condition would hold if `and` bound closer than `or`."""
    groups: list[list[Expression]] = [[]]
    for part in expression.expressions:
        first, *others = (
            part.expressions if isinstance(part, OrVariadicOperatorExpression) else [part]
        )
        groups[-1].append(first)
        groups += [[each] for each in others]
    if len(groups) == 1:
        return None
    regrouped = OrVariadicOperatorExpression(
        [AndVariadicOperatorExpression(group) if len(group) > 1 else group[0] for group in groups]
    )
    holds = compile_condition(regrouped, compile_path)
    context = EvaluationContext(root, _BUDGET)
    try:
        count = sum(holds(value, context) for value in refused)
    except ExpressionError:
        return None
    if not count:
        return None
    text = "".join(regrouped.__jsonpath__())
    return f"`or` binds closer than `and`; {text} would hold for {_count(count, 'value')}"


def _values(path: Node, refused: Sequence[Any], root: Any) -> list[Any]:
    """Return values that a path selects from those that a condition refused."""
    select = compile_path(path)
    context = EvaluationContext(root, _BUDGET)
    found: list[Any] = []

    def collect(value: Any) -> bool:
        found.append(value)
        return len(found) >= _MAX_COMPARED

    try:
        for value in refused:
            if select(value, context, collect):
                break
    except ExpressionError:
        pass  # what was found so far has to do
    return found


def _unequal_hint(found: Sequence[Any], constant: Any) -> str:
    for value in found:
        if _is_text_of(value, constant) or _is_text_of(constant, value):
            return (
                f"the value is {_described(value)}, and the filter compares it with "
                f"{_described(constant)}"
            )
        if isinstance(value, list) and constant in value[:_MAX_COMPARED]:
            return f"the value is an array that contains {_shown(constant)}; write [*] after it"
    if not any(_type(value) == _type(constant) for value in found):
        return (
            f"the value is {_described(found[0])}, and the filter compares it with "
            f"{_described(constant)}"
        )
    texts = [value for value in found if isinstance(value, str) and len(value) <= _MAX_TEXT]
    if isinstance(constant, str) and len(constant) <= _MAX_TEXT:
        folded = constant.strip().casefold()
        for text in texts:
            if text.strip().casefold() == folded:
                return f"the value is {_described(text)}: capitals and spaces count"
        if close := get_close_matches(constant, texts, 1):
            return f"the nearest value is {_described(close[0])}"
    alike = [value for value in found if _type(value) == _type(constant)]
    if _is_number(constant):
        nearest = min(alike, key=lambda number: _distance(number, constant))
        return f"the nearest value is {_described(nearest)}"
    return f"a value that it met is {_described(alike[0])}"


def _order_hint(found: Sequence[Any], constant: Any) -> str:
    if not _is_number(constant):
        return f"only numbers have an order, and {_shown(constant)} is {_type(constant)}"
    numbers = [value for value in found if _is_number(value)]
    if not numbers:
        return (
            f"the value is {_described(found[0])}, and the filter compares it with "
            f"{_described(constant)}"
        )
    least, greatest = min(numbers), max(numbers)
    if least == greatest:
        return f"the value is {_shown(least)}"
    return f"the values are between {_shown(least)} and {_shown(greatest)}"


def _path_hint(path: Node, refused: Sequence[Any], root: Any) -> str | None:
    """Return which step of a path selects nothing."""
    values = [root] if isinstance(path, RootNode) else list(refused[:_MAX_COMPARED])
    for node in path_nodes(path):
        step = single_step(node)
        if step is None:
            return None
        found = [each for each in (child(value, step) for value in values) if each is not ABSENT]
        if not found:
            return _missing(step, values)
        values = found
    return None


def _missing(step: int | str, values: Sequence[Any]) -> str | None:
    """Return why no value has a key or an index."""
    if isinstance(step, int):
        lists = [value for value in values if isinstance(value, list)]
        if not lists:
            return f"{_described(values[0])} is no array, so that it has no [{step}]"
        return f"no array has an element [{step}]; the longest has {max(map(len, lists))}"
    key = json.dumps(step)
    if all(isinstance(value, list) for value in values):
        elements = [element for value in values for element in value[:_MAX_COMPARED]]
        if any(isinstance(each, dict) and step in each for each in elements):
            return f"the value is an array, and its elements have {key}; write [*] before it"
        return f"the value is an array, which has no key {key}"
    keys = _keys(values)
    if not keys:
        return f"{_described(values[0])} has no keys, and so no {key}"
    if close := [each for each in keys if each.casefold() == step.casefold()]:
        return f"there is no key {key}, but {json.dumps(close[0])}: capitals count"
    if close := get_close_matches(step[:_MAX_TEXT], keys, 1):
        return f"there is no key {key}; the nearest is {json.dumps(close[0])}"
    return f"there is no key {key}; the keys are {_listed(keys)}"


def _keys(values: Iterable[Any]) -> list[str]:
    keys: dict[str, None] = {}
    for value in values:
        if isinstance(value, dict):
            keys.update(dict.fromkeys(islice(value, _MAX_COMPARED)))
        if len(keys) >= _MAX_COMPARED:
            break
    return [key for key in keys if len(key) <= _MAX_TEXT]


def _listed(keys: Sequence[str]) -> str:
    shown = ", ".join(json.dumps(key) for key in keys[:8])
    return _cut(shown) + (", and others" if len(keys) > 8 else "")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _distance(number: int | float, other: int | float) -> int | float:
    try:
        return abs(number - other)
    except OverflowError:  # a whole number that no float can hold
        return math.inf


def _is_text_of(text: Any, value: Any) -> bool:
    """Return whether a text reads like a value that is no text."""
    if not isinstance(text, str) or isinstance(value, (str, list, dict)) or len(text) > _MAX_TEXT:
        return False
    return text.strip().casefold() in (json.dumps(value), str(value).casefold())


def _described(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"{_type(value)} with {_count(len(value), 'element')}"
    return f"{_type(value)} {_shown(value)}" if value is not None else "null"


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "the truth value"
    if isinstance(value, (int, float)):
        return "the number"
    if isinstance(value, str):
        return "the text"
    return "an array" if isinstance(value, list) else "an object" if value is not None else "null"


def _shown(value: Any) -> str:
    value = value[:_MAX_SHOWN] if isinstance(value, str) else value
    return _cut(json.dumps(value, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
