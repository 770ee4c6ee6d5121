"""An event as a reader sees it: its records, each with its members and values."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from pacifica.notifications.ui.clauses import KIND, Filter, Step, filter_for

#: Of an event, so many records and so many members of each are shown.
MAX_RECORDS, MAX_MEMBERS = 200, 60
_MAX_SHOWN = 200
_MAX_DEPTH = 4
#: What a click on a value sends has this before the steps to it.
_SEPARATOR: Final = "/"


@dataclass(frozen=True)
class Member:
    """A member of a record. `pick` is what a click on it sends, empty if nothing can be made of it.

    `is_picked` says that the expression has a clause about it.
    """

    name: str
    text: str
    pick: str = ""
    is_picked: bool = False


@dataclass(frozen=True)
class Record:
    """A record. `is_found` says that the expression finds it or something in it.

    `pick` is what a click on its title sends, which asks for all records of its kind; empty if its
    kind is not known.
    """

    title: str
    members: tuple[Member, ...]
    is_found: bool = False
    has_more: bool = False
    pick: str = ""
    is_picked: bool = False


@dataclass(frozen=True)
class EventTree:
    """An event: what it says of itself, and its records, of which `more` are not shown."""

    about: Record
    records: tuple[Record, ...]
    more: int = 0


def tree_of(event: dict[str, Any], current: Filter | None, found: Sequence[str]) -> EventTree:
    """Return an event as it is shown; `found` are the paths to what the expression finds in it."""
    attributes = [name for name in event if name != "data" and event[name] not in ({}, [])]
    about = _record("About this event", event, [], attributes, current, found)
    data = event.get("data")
    if isinstance(data, list):
        records = [
            _of_element(event, number, current, found)
            for number in range(min(len(data), MAX_RECORDS))
        ]
        return EventTree(about, tuple(records), max(len(data) - MAX_RECORDS, 0))
    if "data" not in event:
        return EventTree(about, ())
    names = list(data) if isinstance(data, dict) else None
    return EventTree(about, (_record("Content", event, ["data"], names, current, found),))


def steps_of(pick: str, event: Any) -> list[Step] | None:
    """Return the steps to a value that a click names; None if the event has no such value."""
    try:
        steps: Any = json.loads(pick)
    except (ValueError, RecursionError):
        return None
    if not isinstance(steps, list) or not steps:
        return None
    value = event
    for step in steps:
        if not _has(value, step):
            return None
        value = value[step]
    return steps


def _has(value: Any, step: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(step, str) and step in value
    is_index = isinstance(step, int) and not isinstance(step, bool)
    return is_index and isinstance(value, list) and 0 <= step < len(value)


def _of_element(
    event: dict[str, Any], number: int, current: Filter | None, found: Sequence[str]
) -> Record:
    element = event["data"][number]
    steps: list[Step] = ["data", number]
    if not isinstance(element, dict):
        return _record(f"Record {number + 1}", event, steps, None, current, found)
    kind = element.get(KIND)
    if not isinstance(kind, str) or not kind:
        return _record(f"Record {number + 1}", event, steps, list(element), current, found)
    names = [name for name in element if name != KIND]
    record = _record(kind, event, steps, names, current, found)
    title = _member(event, [*steps, KIND], [KIND], current)
    return replace(record, pick=title.pick, is_picked=title.is_picked)


def _record(
    title: str,
    event: dict[str, Any],
    steps: list[Step],
    names: list[str] | None,
    current: Filter | None,
    found: Sequence[str],
) -> Record:
    """Return the members of an object; without names, the value itself is the only one."""
    paths = [[*steps, name] for name in names] if names is not None else [steps]
    every = (leaf for path in paths for leaf in _leaves(event, path, len(steps)))
    leaves = list(islice(every, MAX_MEMBERS + 1))
    members = tuple(
        _member(event, path, path[len(steps) :], current) for path in leaves[:MAX_MEMBERS]
    )
    place = "$" + "".join(f"[{json.dumps(step)}]" for step in steps)
    is_found = bool(steps) and any(each.startswith(place) for each in found)
    return Record(title, members, is_found, len(leaves) > MAX_MEMBERS)


def _leaves(event: Any, path: list[Step], above: int) -> Iterator[list[Step]]:
    """Yield the steps to each value at a path that is no object or array, or too deep inside."""
    value = event
    for step in path:
        value = value[step]
    inside: Iterable[Step] = ()
    if len(path) - above <= _MAX_DEPTH:
        if isinstance(value, dict):
            inside = value
        elif isinstance(value, list):
            inside = range(len(value))
    is_leaf = True
    for step in inside:
        is_leaf = False
        yield from _leaves(event, [*path, step], above)
    if is_leaf:
        yield path


def _member(
    event: dict[str, Any], path: list[Step], inside: list[Step], current: Filter | None
) -> Member:
    value: Any = event
    for step in path:
        value = value[step]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = f"{text[:_MAX_SHOWN]}…" if len(text) > _MAX_SHOWN else text
    picked = filter_for(event, path)
    is_picked = (
        picked is not None
        and current is not None
        and current.records == picked.records
        and set(picked.clauses) <= set(current.clauses)
    )
    name = ".".join(str(step + 1) if isinstance(step, int) else step for step in inside)
    return Member(name or "value", shown, json.dumps(path) if picked else "", is_picked)
