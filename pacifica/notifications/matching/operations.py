"""Apply single steps, comparisons and functions to JSON values, as jsonpath2 does."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from jsonpath2.subscripts.callable import (
    CharAtCallableSubscript,
    EntriesCallableSubscript,
    KeysCallableSubscript,
    LengthCallableSubscript,
    SubstringCallableSubscript,
    ValuesCallableSubscript,
)

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching.evaluation import EvaluationContext, comparison_steps

#: Says that there is no such value; `None` is JSON's null.
ABSENT: Any = object()


def child(value: Any, step: int | str) -> Any:
    """Return the element of an array or the member of an object, or `ABSENT`."""
    if isinstance(step, str):
        return value.get(step, ABSENT) if isinstance(value, dict) else ABSENT
    if isinstance(value, list) and -len(value) <= step < len(value):
        return value[step]
    return ABSENT


def step_follower(steps: Sequence[int | str]) -> Callable[[Any], Any]:
    """Return the function that follows keys and indices from a value, and may return `ABSENT`."""
    if len(steps) == 1 and isinstance(steps[0], str):
        key = steps[0]
        return lambda value: value.get(key, ABSENT) if isinstance(value, dict) else ABSENT

    def follow(value: Any) -> Any:
        for step in steps:
            value = child(value, step)
            if value is ABSENT:
                return ABSENT
        return value

    return follow


def slice_indices(length: int, start: int | None, end: int | None, step: int | None) -> range:
    """Return the indices of `[start:end:step]` that an array of `length` elements has.

    jsonpath2 iterates over `range(start, end, step)` and skips the indices outside the array, of
    which there may be any number. This range has the same indices in the same order, without
    those. Negative indices are inside the array, too: with a negative step they follow 0.
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


def equal(left: Any, right: Any, context: EvaluationContext) -> bool:
    """Return `left == right`, and spend a step for each pair of elements that is compared."""
    context.spend(_scalar_steps(left, right))
    if not (_is_container(left) and _is_container(right)):
        return left == right
    # A list of pairs instead of recursion: events may be nested deeper than Python recurses.
    pending = [(left, right)]
    while pending:
        left, right = pending.pop()
        if left is right:
            continue
        if isinstance(left, list) != isinstance(right, list) or len(left) != len(right):
            return False
        for first, second in _pairs(left, right, context):
            # In Python's comparison of containers an element equals itself, even NaN.
            if first is second:
                continue
            if _is_container(first) and _is_container(second):
                pending.append((first, second))
            elif first != second:
                return False
    return True


def _is_container(value: Any) -> bool:
    return isinstance(value, (list, dict))


def _pairs(left: Any, right: Any, context: EvaluationContext) -> Iterator[tuple[Any, Any]]:
    if isinstance(left, list):
        for first, second in zip(left, right, strict=True):
            context.spend(_scalar_steps(first, second))
            yield first, second
    else:
        for key, first in left.items():
            second = right.get(key, ABSENT)
            context.spend(comparison_steps(key) + _scalar_steps(first, second))
            yield first, second


def _scalar_steps(left: Any, right: Any) -> int:
    # Only strings of the same length are compared character by character.
    if isinstance(left, str) and isinstance(right, str) and len(left) == len(right):
        return comparison_steps(left)
    return 1


#: A function of the grammar: it yields its results for a value and the values of its arguments.
#: Only the whole numbers among these are given. An argument may have any number of values, and
#: there is a result for each combination.
Function = Callable[[Any, Sequence[Sequence[int]], EvaluationContext], Iterator[Any]]


def _char_at(
    value: Any, arguments: Sequence[Sequence[int]], context: EvaluationContext
) -> Iterator[Any]:
    if isinstance(value, str) and len(arguments) == 1:
        for index in arguments[0]:
            context.spend(1)
            if -len(value) <= index < len(value):
                yield value[index]


def _substring(
    value: Any, arguments: Sequence[Sequence[int]], context: EvaluationContext
) -> Iterator[Any]:
    if isinstance(value, str) and len(arguments) in (1, 2):
        for bounds in product(*arguments):
            start, end = bounds if len(bounds) == 2 else (bounds[0], None)
            part = value[start:end]
            context.spend(comparison_steps(part))
            yield part


def _entries(
    value: Any, arguments: Sequence[Sequence[int]], context: EvaluationContext
) -> Iterator[Any]:
    if _is_container(value) and not arguments:
        context.spend(len(value))
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        yield [list(pair) for pair in pairs]


def _keys(
    value: Any, arguments: Sequence[Sequence[int]], context: EvaluationContext
) -> Iterator[Any]:
    if _is_container(value) and not arguments:
        context.spend(len(value))
        yield list(value) if isinstance(value, dict) else list(range(len(value)))


def _values(
    value: Any, arguments: Sequence[Sequence[int]], context: EvaluationContext
) -> Iterator[Any]:
    if _is_container(value) and not arguments:
        context.spend(len(value))
        yield list(value.values()) if isinstance(value, dict) else value


def _length(
    value: Any, arguments: Sequence[Sequence[int]], _context: EvaluationContext
) -> Iterator[Any]:
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
