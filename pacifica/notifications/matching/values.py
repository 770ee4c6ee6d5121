"""What single steps of a JSONPath find in a JSON value, as jsonpath2 defines them."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from jsonpath2.node import Node
from jsonpath2.nodes.subscript import SubscriptNode
from jsonpath2.subscripts.arrayindex import ArrayIndexSubscript
from jsonpath2.subscripts.callable import (
    CharAtCallableSubscript,
    EntriesCallableSubscript,
    KeysCallableSubscript,
    LengthCallableSubscript,
    SubstringCallableSubscript,
    ValuesCallableSubscript,
)
from jsonpath2.subscripts.objectindex import ObjectIndexSubscript

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching.work import Work, comparison_steps

#: Stands for "there is no such value"; `None` is JSON's null.
ABSENT: Any = object()


def only_step(node: Node) -> int | str | None:
    """Return the key or index of a node that selects by just one, else `None`."""
    if isinstance(node, SubscriptNode) and len(node.subscripts) == 1:
        subscript = node.subscripts[0]
        if isinstance(subscript, (ArrayIndexSubscript, ObjectIndexSubscript)):
            return subscript.index
    return None


def child(value: Any, step: int | str) -> Any:
    """Return the element of an array or the member of an object, or `ABSENT`."""
    if isinstance(step, str):
        return value.get(step, ABSENT) if isinstance(value, dict) else ABSENT
    if isinstance(value, list) and -len(value) <= step < len(value):
        return value[step]
    return ABSENT


def fetcher(steps: Sequence[int | str]) -> Callable[[Any], Any]:
    """Return the function that follows keys and indices from a value, or returns `ABSENT`."""
    if len(steps) == 1 and isinstance(steps[0], str):
        key = steps[0]
        return lambda value: value.get(key, ABSENT) if isinstance(value, dict) else ABSENT

    def fetch(value: Any) -> Any:
        for step in steps:
            value = child(value, step)
            if value is ABSENT:
                return ABSENT
        return value

    return fetch


def slice_indices(length: int, start: int | None, end: int | None, step: int | None) -> range:
    """Return the indices of `[start:end:step]` that an array of `length` elements has.

    jsonpath2 walks `range(start, end, step)` and drops the indices that are not in the array,
    of which there may be any number; this is only the others, in the same order. Negative ones
    are in the array, too: with a negative step the range passes below 0.
    """
    if start is None:
        start = 0
    elif start < 0:
        start = start + length if -start < length else 0
    if end is None:
        end = length
    elif end < 0:
        end += length
    if step is None:
        step = 1
    if step > 0:
        end = min(end, length)
    elif step < 0:
        end = max(end, -length - 1)
        if start >= length:
            start += step * -((start - length + 1) // step)
    try:
        return range(start, end, step)
    except ValueError as error:
        raise ExpressionError("the step of a slice is 0") from error


def equal(left: Any, right: Any, work: Work) -> bool:
    """Return `left == right`, spending a step for each pair of elements that is compared."""
    work.spend(_scalar_steps(left, right))
    if not (_is_container(left) and _is_container(right)):
        return left == right
    # A list of pairs and no recursion: events may be nested deeper than Python recurses.
    waiting = [(left, right)]
    while waiting:
        left, right = waiting.pop()
        if left is right:
            continue
        if isinstance(left, list) != isinstance(right, list) or len(left) != len(right):
            return False
        for first, second in _pairs(left, right, work):
            # Containers take an element for equal to itself, even NaN.
            if first is second:
                continue
            if _is_container(first) and _is_container(second):
                waiting.append((first, second))
            elif first != second:
                return False
    return True


def _is_container(value: Any) -> bool:
    return isinstance(value, (list, dict))


def _pairs(left: Any, right: Any, work: Work) -> Iterator[tuple[Any, Any]]:
    if isinstance(left, list):
        for first, second in zip(left, right, strict=True):
            work.spend(_scalar_steps(first, second))
            yield first, second
    else:
        for key, first in left.items():
            second = right.get(key, ABSENT)
            work.spend(comparison_steps(key) + _scalar_steps(first, second))
            yield first, second


def _scalar_steps(left: Any, right: Any) -> int:
    # Only strings of one length are compared character by character.
    if isinstance(left, str) and isinstance(right, str) and len(left) == len(right):
        return comparison_steps(left)
    return 1


#: A function of the grammar: what it yields for a value and its arguments. Of arguments only
#: whole numbers are given; each has any number of values, and all combinations count.
Function = Callable[[Any, Sequence[Sequence[int]], Work], Iterator[Any]]


def _char_at(value: Any, arguments: Sequence[Sequence[int]], work: Work) -> Iterator[Any]:
    if isinstance(value, str) and len(arguments) == 1:
        for index in arguments[0]:
            work.spend(1)
            if -len(value) <= index < len(value):
                yield value[index]


def _substring(value: Any, arguments: Sequence[Sequence[int]], work: Work) -> Iterator[Any]:
    if isinstance(value, str) and len(arguments) in (1, 2):
        for bounds in product(*arguments):
            start, end = bounds if len(bounds) == 2 else (bounds[0], None)
            part = value[start:end]
            work.spend(comparison_steps(part))
            yield part


def _entries(value: Any, arguments: Sequence[Sequence[int]], work: Work) -> Iterator[Any]:
    if _is_container(value) and not arguments:
        work.spend(len(value))
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        yield [list(pair) for pair in pairs]


def _keys(value: Any, arguments: Sequence[Sequence[int]], work: Work) -> Iterator[Any]:
    if _is_container(value) and not arguments:
        work.spend(len(value))
        yield list(value) if isinstance(value, dict) else list(range(len(value)))


def _values(value: Any, arguments: Sequence[Sequence[int]], work: Work) -> Iterator[Any]:
    if _is_container(value) and not arguments:
        work.spend(len(value))
        yield list(value.values()) if isinstance(value, dict) else value


def _length(value: Any, arguments: Sequence[Sequence[int]], _work: Work) -> Iterator[Any]:
    if isinstance(value, (list, str)) and not arguments:
        yield len(value)


FUNCTIONS: dict[type, Function] = {
    CharAtCallableSubscript: _char_at,
    EntriesCallableSubscript: _entries,
    KeysCallableSubscript: _keys,
    LengthCallableSubscript: _length,
    SubstringCallableSubscript: _substring,
    ValuesCallableSubscript: _values,
}
