"""Finding the constants to which some row of an event compares as it should."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pacifica.notifications.matching.claims import Comparison
from pacifica.notifications.matching.rows import Rows
from pacifica.notifications.matching.templates import Constant

_Constants = tuple[Constant, ...]

# How many of sorted numbers a bound cuts off from below, or leaves below it.
_LOWER = {">": bisect_right, ">=": bisect_left}
_UPPER = {"<": bisect_left, "<=": bisect_right}


def holding(
    places: Mapping[_Constants, Any], comparisons: Sequence[Comparison], rows: Rows
) -> Iterator[Any]:
    """Yield the places of constants for which the comparisons hold for some row."""
    if len({each.operand for each in comparisons}) == 1 and all(each.order for each in comparisons):
        yield from _between(places, comparisons, rows)
        return
    # Rows of the same values are one.
    found = set(zip(*(rows.column(each.operand) for each in comparisons), strict=True))
    for constants, place in places.items():
        if any(_all_hold(comparisons, values, constants) for values in found):
            yield place


def holding_rows(
    places: Mapping[_Constants, Any], comparisons: Sequence[Comparison], rows: Rows
) -> Iterator[tuple[Any, Rows]]:
    """Yield the places of constants for which the comparisons hold, with the rows for which."""
    columns = [rows.column(each.operand) for each in comparisons]
    found = list(zip(rows.values, zip(*columns, strict=True), strict=True))
    for constants, place in places.items():
        some = [row for row, values in found if _all_hold(comparisons, values, constants)]
        if some:
            yield place, rows.of(some)


def _all_hold(
    comparisons: Sequence[Comparison], values: Sequence[Any], constants: _Constants
) -> bool:
    for comparison, value, constant in zip(comparisons, values, constants, strict=True):
        if not comparison.holds(value, constant):
            return False
    return True


def _between(
    places: Mapping[_Constants, Any], comparisons: Sequence[Comparison], rows: Rows
) -> Iterator[Any]:
    """Do what `holding` does where the comparisons are bounds of one number.

    With the numbers of all rows sorted, those within bounds are in a row: two binary searches
    tell whether there are any, however many rows there are.
    """
    column = rows.column(comparisons[0].operand)
    # NaN, the one number that is not equal to itself, is within no bounds.
    numbers = sorted({each for each in column if isinstance(each, (int, float)) and each == each})
    if not numbers:
        return
    is_some = _is_some_of(numbers, [each.order or "" for each in comparisons])
    for constants, place in places.items():
        try:
            within = is_some(constants)
        except TypeError:  # a bound that is not a number, and has no order
            continue
        if within:
            yield place


def _is_some_of(
    numbers: Sequence[int | float], orders: Sequence[str]
) -> Callable[[Sequence[Any]], bool]:
    """Return the test whether one of sorted numbers is within bounds."""
    lower = [(number, _LOWER[order]) for number, order in enumerate(orders) if order in _LOWER]
    upper = [(number, _UPPER[order]) for number, order in enumerate(orders) if order in _UPPER]
    if len(lower) == 1 and not upper:
        ((low, below),) = lower
        return lambda bounds: below(numbers, bounds[low]) < len(numbers)
    if len(upper) == 1 and not lower:
        ((high, up_to),) = upper
        return lambda bounds: up_to(numbers, bounds[high]) > 0
    if len(lower) == len(upper) == 1:
        ((low, below),), ((high, up_to),) = lower, upper
        return lambda bounds: below(numbers, bounds[low]) < up_to(numbers, bounds[high])

    def test(bounds: Sequence[Any]) -> bool:
        first = max([cut(numbers, bounds[number]) for number, cut in lower], default=0)
        end = min([cut(numbers, bounds[number]) for number, cut in upper], default=len(numbers))
        return first < end

    return test
