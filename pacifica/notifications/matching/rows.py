"""The values that paths have in one event, found once for all who ask for them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pacifica.notifications.errors import BudgetExceeded
from pacifica.notifications.matching.paths import Operand, Path
from pacifica.notifications.matching.values import ABSENT, child, fetcher
from pacifica.notifications.matching.work import Work

#: Stands in columns for an array or object, which is equal to no constant and has no order.
CONTAINER: Any = object()

_PLAIN = {str, int, float, bool, type(None), type(ABSENT)}


class Rows:
    """Values of one event in jsonpath2's order.

    What is found below them, and what columns they have, is found once. Not `complete` where
    finding them took more than the budget: then these are the first of them.
    """

    __slots__ = ("_below", "_columns", "_divided", "_event", "budget", "complete", "values")

    def __init__(
        self, values: Sequence[Any], event: Any, budget: int, *, complete: bool = True
    ) -> None:
        self.values = values
        self.complete = complete
        self._event = event
        self.budget = budget
        self._below: dict[str, Rows] = {}
        self._columns: dict[str, Sequence[Any]] = {}
        self._divided: dict[tuple[str, ...], dict[Any, list[Any] | Rows]] = {}

    def of(self, values: Sequence[Any], *, complete: bool = True) -> "Rows":
        """Return other values of the same event: these very rows where they are all of them."""
        if complete and len(values) == len(self.values):
            return self
        return Rows(values, self._event, self.budget, complete=complete)

    def work(self) -> Work:
        """Return the whole budget for this event."""
        return Work(self._event, self.budget)

    def below(self, path: Path) -> "Rows":
        """Return what a path has from each row on."""
        if not path.text:
            return self
        rows = self._below.get(path.text)
        if rows is None:
            rows = self._below[path.text] = self._at_end_of(path)
        return rows

    def hits(self, table: Mapping[Any, Any], operands: Sequence[Operand]) -> set[Any]:
        """Return the keys of a table that rows have.

        The key of a row is what its one operand has, or a tuple of what all of them have.
        """
        if not operands:
            return {()} if self.values else set()
        try:
            return table.keys() & _keys([self._column(operand) for operand in operands])
        except TypeError:  # an array or object, which no dictionary can look up
            return table.keys() & _keys([self.column(operand) for operand in operands])

    def having(self, key: Any, operands: Sequence[Operand]) -> "Rows":
        """Return the rows that have a key."""
        if not operands:
            return self
        name = tuple(operand.text for operand in operands)
        divided = self._divided.get(name)
        if divided is None:
            divided = self._divided[name] = self._divide(operands)
        rows = divided[key]
        if not isinstance(rows, Rows):
            rows = divided[key] = self.of(rows)
        return rows

    def column(self, operand: Operand) -> Sequence[Any]:
        """Return what an operand has in each row: a plain value, `CONTAINER` or `ABSENT`."""
        column = self._columns[operand.text] = _plain(self._column(operand))
        return column

    def _column(self, operand: Operand) -> Sequence[Any]:
        column = self._columns.get(operand.text)
        if column is None:
            if operand.from_root:
                column = [fetcher(operand.steps)(self._event)] * len(self.values)
            else:
                column = _followed(self.values, operand.steps)
            self._columns[operand.text] = column
        return column

    def _divide(self, operands: Sequence[Operand]) -> "dict[Any, list[Any] | Rows]":
        """Return the rows by their keys: as lists, for few of them will be asked for."""
        divided: defaultdict[Any, Any] = defaultdict(list)
        keys = _keys([self.column(operand) for operand in operands])
        for key, value in zip(keys, self.values, strict=True):
            divided[key].append(value)
        return divided

    def _at_end_of(self, path: Path) -> "Rows":
        if path.each_of is not None and len(self.values) == 1:
            return self._each_of(path.each_of)
        values: list[Any] = []
        work = self.work()

        def collect(value: Any) -> bool:
            work.spend(1)
            values.append(value)
            return False

        try:
            for value in self.values:
                path.walk(value, work, collect)
        except BudgetExceeded:
            return Rows(values, self._event, self.budget, complete=False)
        return Rows(values, self._event, self.budget)

    def _each_of(self, steps: Sequence[int | str]) -> "Rows":
        """Do for the most usual of paths what `_at_end_of` does, and spend the same."""
        found = fetcher(steps)(self.values[0])
        if isinstance(found, dict):
            values = list(found.values())
        else:
            values = found if isinstance(found, list) else []
        most = max(self.budget - len(steps), 0) // 2
        if len(values) > most:
            return Rows(values[:most], self._event, self.budget, complete=False)
        return Rows(values, self._event, self.budget)


def _keys(columns: Sequence[Sequence[Any]]) -> Iterable[Any]:
    return columns[0] if len(columns) == 1 else zip(*columns, strict=True)


def _followed(values: Sequence[Any], steps: Sequence[int | str]) -> Sequence[Any]:
    for step in steps:
        values = _children(values, step)
    return values


def _children(values: Sequence[Any], step: int | str) -> Sequence[Any]:
    if isinstance(step, str):
        try:
            return [value.get(step, ABSENT) for value in values]
        except AttributeError:  # not all of them are objects
            pass
    return [child(value, step) for value in values]


def _plain(values: Sequence[Any]) -> Sequence[Any]:
    if set(map(type, values)) <= _PLAIN:
        return values
    return [CONTAINER if isinstance(value, (list, dict)) else value for value in values]
