"""The enabled subscriptions, held so that one pass over them finds all that match an event."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching.compile import compile_jsonpath, has_match
from pacifica.notifications.matching.grammar import MAX_LENGTH
from pacifica.notifications.matching.work import DEFAULT_BUDGET, Test


@dataclass(frozen=True, slots=True)
class Entry:
    """A subscription as far as matching goes: its UUID and its JSONPath as it was given."""

    uuid: UUID
    jsonpath: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A subscription whose JSONPath did not parse, or failed on an event.

    `error` is one line for its owner; `exhausted` tells that the work budget ran out.
    """

    uuid: UUID
    error: str
    exhausted: bool


@dataclass(frozen=True, slots=True)
class Matches:
    """What an event means to the subscriptions: whom it matches, and who could not tell."""

    matched: tuple[UUID, ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """The subscriptions that share one JSONPath, in the order in which they came."""

    test: Test
    members: dict[UUID, None] = field(default_factory=dict)


class SubscriptionIndex:
    """The enabled subscriptions, grouped by the text of their JSONPath.

    Each distinct JSONPath is compiled once, is evaluated once for an event, and is dropped with
    its last subscription. `budget` is the steps that one evaluation may take, `max_length` the
    characters that a JSONPath may have. Not for use by several threads at once.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET, max_length: int = MAX_LENGTH) -> None:
        self._budget = budget
        self._max_length = max_length
        self._groups: dict[str, _Group] = {}
        self._jsonpaths: dict[UUID, str] = {}

    def __len__(self) -> int:
        """Return how many subscriptions are in the index."""
        return len(self._jsonpaths)

    def put(self, entry: Entry) -> Fault | None:
        """Add a subscription, or replace the one with its UUID.

        Returns what is wrong where the JSONPath does not parse; the subscription then is not in
        the index, with its former JSONPath neither.
        """
        if self._jsonpaths.get(entry.uuid) == entry.jsonpath:
            return None
        self.remove(entry.uuid)
        group = self._groups.get(entry.jsonpath)
        if group is None:
            try:
                group = _Group(compile_jsonpath(entry.jsonpath, self._max_length))
            except ExpressionError as error:
                return _fault(entry.uuid, error)
            self._groups[entry.jsonpath] = group
        group.members[entry.uuid] = None
        self._jsonpaths[entry.uuid] = entry.jsonpath
        return None

    def remove(self, uuid: UUID) -> None:
        """Take a subscription out; one that is not in the index is none to take out."""
        jsonpath = self._jsonpaths.pop(uuid, None)
        if jsonpath is None:
            return
        group = self._groups[jsonpath]
        del group.members[uuid]
        if not group.members:
            del self._groups[jsonpath]

    def match(self, event: Any) -> Matches:
        """Return which subscriptions an event, as `json.loads` returns it, matches.

        A JSONPath that raises or exceeds its budget is a fault of each subscription that has it,
        and nothing to the others.
        """
        matched: list[UUID] = []
        faults: list[Fault] = []
        for group in self._groups.values():
            try:
                if has_match(group.test, event, self._budget):
                    matched.extend(group.members)
            except ExpressionError as error:
                faults.extend(_fault(uuid, error) for uuid in group.members)
        return Matches(tuple(matched), tuple(faults))


def _fault(uuid: UUID, error: ExpressionError) -> Fault:
    return Fault(uuid, str(error), exhausted=isinstance(error, BudgetExceeded))
