"""Writes expressions from what a reader clicks: clauses of one filter on the records of an event.

These have the form that the index of subscriptions serves, such as
`$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plain")]`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Scalar: TypeAlias = str | int | float | bool | None
Step: TypeAlias = str | int

_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
# What the grammar reads otherwise behind a dot.
_RESERVED = frozenset({"and", "or", "not", "true", "false", "null"})
_TEXT = r'"[^"\\]*"'
_STEPS = rf"(?:\.\w+|\[{_TEXT}\])*"
_CLAUSE = re.compile(
    rf"@(?P<steps>{_STEPS}) = (?P<value>{_TEXT}|true|false|null|-?[0-9][0-9.eE+-]*)"
)
_WHOLE = re.compile(rf"(?P<records>\$(?:\.\w+|\[{_TEXT}\]|\[\*\])*)\[\?\((?P<clauses>.*)\)\]", re.S)
_AND = " and "
#: The member of a record that says of which kind it is, and those whose values need another.
KIND: Final = "destinationTable"
_KEY, _VALUE = "key", "value"
_MAX_TEXT = 300


@dataclass(frozen=True)
class Clause:
    """That a member of a record has a value; `steps` lead to the member, as the grammar has it."""

    steps: str
    value: Scalar

    def __str__(self) -> str:
        """Return the clause as the grammar has it."""
        return f"@{self.steps} = {literal(self.value)}"


@dataclass(frozen=True)
class Filter:
    """An expression: the path to records, and the clauses that one of them must meet."""

    records: str
    clauses: tuple[Clause, ...]

    def __str__(self) -> str:
        """Return the expression."""
        return f"{self.records}[?({_AND.join(map(str, self.clauses))})]"


def literal(value: Scalar) -> str:
    """Return a value as the grammar has it; see `is_writable`."""
    return f'"{value}"' if isinstance(value, str) else json.dumps(value)


def is_writable(value: Any) -> bool:
    """Return whether an expression can compare to a value: a scalar, and no text with escapes."""
    if isinstance(value, str):
        fits = len(value) <= _MAX_TEXT and value.isprintable()
        return fits and '"' not in value and "\\" not in value
    return value is None or isinstance(value, (bool, int, float))


def read(text: str) -> Filter | None:
    """Return the filter that a text is, if it is one of this form."""
    whole = _WHOLE.fullmatch(text.strip())
    if whole is None:
        return None
    clauses: list[Clause] = []
    rest = whole["clauses"]
    while True:
        found = _CLAUSE.match(rest)
        if found is None:
            return None
        try:
            value = json.loads(found["value"])
        except ValueError:
            return None
        clauses.append(Clause(found["steps"], value))
        rest = rest[found.end() :]
        if not rest:
            return Filter(whole["records"], tuple(clauses))
        if not rest.startswith(_AND):
            return None
        rest = rest[len(_AND) :]


def filter_for(event: Any, steps: Sequence[Step]) -> Filter | None:
    """Return the filter that finds a value of an event; None if none can.

    It has the clause that tells the kind of its record, where there is one.
    """
    record, path, inside = _record_of(event, steps)
    value = _at(record, inside)
    if not all(is_writable(step) for step in steps) or not is_writable(value):
        return None
    clauses = [Clause("".join(map(_member, inside)), value)]
    if isinstance(record, dict) and inside:
        if inside == [_VALUE] and is_writable(record.get(_KEY)) and _KEY in record:
            clauses.insert(0, Clause(_member(_KEY), record[_KEY]))
        kind = record.get(KIND)
        if inside != [KIND] and isinstance(kind, str) and is_writable(kind):
            clauses.insert(0, Clause(_member(KIND), kind))
    return Filter(path, tuple(clauses))


def with_value(current: str, event: Any, steps: Sequence[Step]) -> str:
    """Return an expression after a click on a value of an event.

    A value of the same kind of record becomes a further clause, or its clause is removed if it has
    one already. Otherwise a new expression begins.
    """
    picked = filter_for(event, steps)
    if picked is None:
        return current
    known = read(current)
    if known is None or known.records != picked.records or not _same_kind(known, picked):
        return str(picked)
    if picked.clauses[-1] in known.clauses:
        left = tuple(each for each in known.clauses if each != picked.clauses[-1])
        return str(Filter(known.records, left)) if left else ""
    replaced = {each.steps for each in picked.clauses}
    kept = tuple(
        each for each in known.clauses if each.steps not in replaced or each in picked.clauses
    )
    added = tuple(each for each in picked.clauses if each not in kept)
    return str(Filter(known.records, kept + added))


def _same_kind(known: Filter, picked: Filter) -> bool:
    kind = _member(KIND)
    kinds = [[each.value for each in one.clauses if each.steps == kind] for one in (known, picked)]
    return kinds[0] == kinds[1] or not kinds[1]


def _record_of(event: Any, steps: Sequence[Step]) -> tuple[Any, str, list[str]]:
    """Return the record in which a value is, the path to all such records, and the steps in it."""
    last = max((number for number, step in enumerate(steps) if isinstance(step, int)), default=-1)
    if last < 0 and steps[:1] == ["data"] and isinstance(event, dict):
        last = 0
    outside = steps[: last + 1]
    path = "$" + "".join("[*]" if isinstance(step, int) else _member(step) for step in outside)
    return _at(event, outside), path, [str(step) for step in steps[last + 1 :]]


def _at(value: Any, steps: Sequence[Step]) -> Any:
    for step in steps:
        value = value[step]
    return value


def _member(name: str) -> str:
    plain = _NAME.fullmatch(name) and name not in _RESERVED
    return f".{name}" if plain else f'["{name}"]'
