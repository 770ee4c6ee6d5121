"""Scan the records of one event: list them, look up their values, and compare these.

A record is a value at the end of a level's path. Whatever hash indexes ask, each list of records
and each column of their values is made once for an event.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pacifica.notifications.errors import BudgetExceeded
from pacifica.notifications.matching.evaluation import EvaluationContext
from pacifica.notifications.matching.operations import ABSENT, child, step_follower
from pacifica.notifications.matching.predicates import Comparison, Operand, Path
from pacifica.notifications.matching.template import Constant

#: Stands in columns for an array or object, which equals no constant and has no order.
CONTAINER: Any = object()

_PLAIN_TYPES = {str, int, float, bool, type(None), type(ABSENT)}

# For each operator: how many of sorted numbers a bound excludes below it, or includes.
_LOWER_BOUNDS = {">": bisect_right, ">=": bisect_left}
_UPPER_BOUNDS = {"<": bisect_left, "<=": bisect_right}

_Constants = tuple[Constant, ...]


class Records:
    """Values of one event in jsonpath2's order.

    `complete` is false if finding them exceeded the budget: then these are the first of them.
    """

    __slots__ = ("_columns", "_event", "_groups", "_selected", "budget", "complete", "values")

    def __init__(
        self, values: Sequence[Any], event: Any, budget: int, *, complete: bool = True
    ) -> None:
        self.values = values
        self.complete = complete
        self._event = event
        self.budget = budget
        self._selected: dict[str, Records] = {}
        self._columns: dict[str, Sequence[Any]] = {}
        self._groups: dict[tuple[str, ...], dict[Any, list[Any] | Records]] = {}

    def subset(self, values: Sequence[Any], *, complete: bool = True) -> "Records":
        """Return some of the records; all of them are the same object."""
        if complete and len(values) == len(self.values):
            return self
        return Records(values, self._event, self.budget, complete=complete)

    def new_context(self) -> EvaluationContext:
        """Return a context for this event, with the whole budget."""
        return EvaluationContext(self._event, self.budget)

    def select(self, path: Path) -> "Records":
        """Return the values that a path selects from each record."""
        if not path.text:
            return self
        records = self._selected.get(path.text)
        if records is None:
            records = self._selected[path.text] = self._at_end_of(path)
        return records

    def matching_keys(self, index: Mapping[Any, Any], operands: Sequence[Operand]) -> set[Any]:
        """Return the keys of a hash index that records have.

        The key of a record is the value of its operand, or a tuple of the values of several.
        """
        if not operands:
            return {()} if self.values else set()
        try:
            return index.keys() & _keys([self._column(operand) for operand in operands])
        except TypeError:  # an array or object, which cannot be hashed
            return index.keys() & _keys([self.column(operand) for operand in operands])

    def with_key(self, key: Any, operands: Sequence[Operand]) -> "Records":
        """Return the records that have a key."""
        if not operands:
            return self
        name = tuple(operand.text for operand in operands)
        groups = self._groups.get(name)
        if groups is None:
            groups = self._groups[name] = self._group_by(operands)
        records = groups[key]
        if not isinstance(records, Records):
            records = groups[key] = self.subset(records)
        return records

    def column(self, operand: Operand) -> Sequence[Any]:
        """Return the operand of each record: a plain value, `CONTAINER` or `ABSENT`."""
        column = self._columns[operand.text] = _without_containers(self._column(operand))
        return column

    def _column(self, operand: Operand) -> Sequence[Any]:
        column = self._columns.get(operand.text)
        if column is None:
            if operand.from_root:
                column = [step_follower(operand.steps)(self._event)] * len(self.values)
            else:
                column = self.values
                for step in operand.steps:
                    column = _children(column, step)
            self._columns[operand.text] = column
        return column

    def _group_by(self, operands: Sequence[Operand]) -> "dict[Any, list[Any] | Records]":
        """Return the records by their keys, as lists, because few of these are asked for."""
        groups: defaultdict[Any, Any] = defaultdict(list)
        keys = _keys([self.column(operand) for operand in operands])
        for key, value in zip(keys, self.values, strict=True):
            groups[key].append(value)
        return groups

    def _at_end_of(self, path: Path) -> "Records":
        if path.wildcard_steps is not None and len(self.values) == 1:
            return self._elements(path.wildcard_steps)
        values: list[Any] = []
        context = self.new_context()

        def collect(value: Any) -> bool:
            context.spend(1)
            values.append(value)
            return False

        try:
            for value in self.values:
                path.select(value, context, collect)
        except BudgetExceeded:
            return Records(values, self._event, self.budget, complete=False)
        return Records(values, self._event, self.budget)

    def _elements(self, steps: Sequence[int | str]) -> "Records":
        """Select as `_at_end_of` does, at the same cost, by the most usual kind of path."""
        found = step_follower(steps)(self.values[0])
        if isinstance(found, dict):
            values = list(found.values())
        else:
            values = found if isinstance(found, list) else []
        max_values = max(self.budget - len(steps), 0) // 2
        if len(values) > max_values:
            return Records(values[:max_values], self._event, self.budget, complete=False)
        return Records(values, self._event, self.budget)


def satisfied(
    entries: Mapping[_Constants, Any], comparisons: Sequence[Comparison], records: Records
) -> Iterator[Any]:
    """Yield the entries for whose constants the comparisons hold for some record.

    Raises `BudgetExceeded` if that takes more steps than the budget.
    """
    if len({each.operand for each in comparisons}) == 1 and all(each.order for each in comparisons):
        yield from _satisfied_by_range(entries, comparisons, records)
        return
    columns = [records.column(each.operand) for each in comparisons]
    distinct = set(zip(*columns, strict=True))
    records.new_context().spend(len(entries) * len(distinct))
    for constants, entry in entries.items():
        if any(_all_hold(comparisons, values, constants) for values in distinct):
            yield entry


def satisfied_with_records(
    entries: Mapping[_Constants, Any], comparisons: Sequence[Comparison], records: Records
) -> Iterator[tuple[Any, Records]]:
    """Yield the entries that `satisfied` does, each with the records for which it is.

    Raises `BudgetExceeded` if that takes more steps than the budget.
    """
    columns = [records.column(each.operand) for each in comparisons]
    rows = list(zip(records.values, zip(*columns, strict=True), strict=True))
    records.new_context().spend(len(entries) * len(rows))
    for constants, entry in entries.items():
        some = [record for record, values in rows if _all_hold(comparisons, values, constants)]
        if some:
            yield entry, records.subset(some)


def _all_hold(
    comparisons: Sequence[Comparison], values: Sequence[Any], constants: _Constants
) -> bool:
    for comparison, value, constant in zip(comparisons, values, constants, strict=True):
        if not comparison.holds(value, constant):
            return False
    return True


def _satisfied_by_range(
    entries: Mapping[_Constants, Any], comparisons: Sequence[Comparison], records: Records
) -> Iterator[Any]:
    """Yield what `satisfied` does if the comparisons are bounds of one number.

    In the sorted numbers of all records, those within the bounds are adjacent. So two binary
    searches tell whether there are any, however many records there are.
    """
    distinct = set(records.column(comparisons[0].operand))
    # NaN, the one number that does not equal itself, has no order.
    numbers = sorted(each for each in distinct if isinstance(each, (int, float)) and each == each)
    if len(numbers) < len(distinct) and all(each.negated for each in comparisons):
        yield from entries.values()  # each comparison holds for what has no order
        return
    if not numbers:
        return
    has_number_within = _range_test(numbers, [each.order or "" for each in comparisons])
    context = records.new_context()
    for constants, entry in entries.items():
        try:
            within = has_number_within(constants)
        except TypeError:  # a bound that is not a number has no order
            context.spend(len(numbers))
            within = any(_all_hold(comparisons, [n] * len(comparisons), constants) for n in numbers)
        if within:
            yield entry


def _range_test(
    numbers: Sequence[int | float], operators: Sequence[str]
) -> Callable[[Sequence[Any]], bool]:
    """Return the test whether one of the sorted numbers is within given bounds."""
    lower = [
        (at, _LOWER_BOUNDS[each]) for at, each in enumerate(operators) if each in _LOWER_BOUNDS
    ]
    upper = [
        (at, _UPPER_BOUNDS[each]) for at, each in enumerate(operators) if each in _UPPER_BOUNDS
    ]
    # The first three cases are what the last one does, in a quarter of the time.
    if len(lower) == 1 and not upper:
        ((low, first_above),) = lower
        return lambda bounds: first_above(numbers, bounds[low]) < len(numbers)
    if len(upper) == 1 and not lower:
        ((high, count_below),) = upper
        return lambda bounds: count_below(numbers, bounds[high]) > 0
    if len(lower) == len(upper) == 1:
        ((low, first_above),), ((high, count_below),) = lower, upper
        return lambda bounds: first_above(numbers, bounds[low]) < count_below(numbers, bounds[high])

    def has_number_within(bounds: Sequence[Any]) -> bool:
        first = max([cut(numbers, bounds[at]) for at, cut in lower], default=0)
        end = min([cut(numbers, bounds[at]) for at, cut in upper], default=len(numbers))
        return first < end

    return has_number_within


def _keys(columns: Sequence[Sequence[Any]]) -> Iterable[Any]:
    return columns[0] if len(columns) == 1 else zip(*columns, strict=True)


def _children(values: Sequence[Any], step: int | str) -> Sequence[Any]:
    if isinstance(step, str):
        try:
            return [value.get(step, ABSENT) for value in values]
        except AttributeError:  # not all of them are objects
            pass
    return [child(value, step) for value in values]


def _without_containers(values: Sequence[Any]) -> Sequence[Any]:
    if set(map(type, values)) <= _PLAIN_TYPES:
        return values
    return [CONTAINER if isinstance(value, (list, dict)) else value for value in values]
