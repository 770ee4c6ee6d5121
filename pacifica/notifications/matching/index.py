"""Hold the enabled subscriptions, and find those that an event matches."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching.candidates import (
    Candidates,
    MatchCollector,
    most_selective,
)
from pacifica.notifications.matching.compiler import compile_tree
from pacifica.notifications.matching.evaluation import (
    DEFAULT_BUDGET,
    STEPS_PER_VALUE,
    Condition,
    has_match,
)
from pacifica.notifications.matching.hash_index import HashIndexes, IndexPosition
from pacifica.notifications.matching.parser import MAX_LENGTH, check_length, syntax_tree
from pacifica.notifications.matching.record_scan import Records
from pacifica.notifications.matching.syntax_tree import can_raise, path_nodes, required_keys


@dataclass(frozen=True, slots=True)
class MatchFailure:
    """A subscription whose JSONPath did not parse, or failed on an event.

    `error` is one line for its owner. `budget_exceeded` tells whether it took too many steps.
    """

    uuid: UUID
    error: str
    budget_exceeded: bool


@dataclass(frozen=True, slots=True)
class MatchResult:
    """The subscriptions that an event matches, and those whose evaluation failed on it."""

    matched: tuple[UUID, ...]
    failures: tuple[MatchFailure, ...]


class SubscriptionIndex:
    """The enabled subscriptions, each under the constants or the text of its JSONPath.

    `budget` is the number of steps that one evaluation may take, `max_length` the number of
    characters that a JSONPath may have. The time of a change does not depend on how many
    subscriptions there are. Only one thread at a time may use an index.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET, max_length: int = MAX_LENGTH) -> None:
        self._budget = budget
        self._max_length = max_length
        self._candidates = Candidates()
        self._hash_indexes = HashIndexes(self._candidates)
        self._positions: dict[UUID, IndexPosition | Unindexed] = {}

    def upsert(self, uuid: UUID, jsonpath: str) -> MatchFailure | None:
        """Add a subscription, or replace the JSONPath of the one with this UUID.

        If the JSONPath does not parse, this returns why. The subscription is then not in the
        index, not even with its former JSONPath.
        """
        try:
            check_length(jsonpath, self._max_length)
            position = self._hash_indexes.position(jsonpath) or self._unindexed(jsonpath)
        except ExpressionError as error:
            self.remove(uuid)
            return _failure(uuid, error)
        if self._positions.get(uuid) == position:
            return None
        self.remove(uuid)
        self._positions[uuid] = position
        if isinstance(position, Unindexed):
            position.subscriptions.add(uuid)
            self._candidates.add(position)
        else:
            self._hash_indexes.add(position, uuid)
        return None

    def remove(self, uuid: UUID) -> None:
        """Remove a subscription, if it is in the index."""
        position = self._positions.pop(uuid, None)
        if isinstance(position, Unindexed):
            position.subscriptions.discard(uuid)
            if not position.subscriptions:
                self._candidates.remove(position)
        elif position is not None:
            self._hash_indexes.remove(position, uuid)

    def match(self, event: Any, values: int = 0) -> MatchResult:
        """Return which subscriptions an event matches; it is what `json.loads` returns.

        `values` is how many values the event has, or more: the budget grows with it.
        If a JSONPath raises or exceeds its budget, this is a failure of each subscription that
        has it, and does not affect the others.
        """
        collector = MatchCollector()
        records = Records([event], event, max(self._budget, STEPS_PER_VALUE * values))
        for candidate in self._candidates.for_event(event):
            candidate.search(records, collector)
        failures = [
            _failure(uuid, error)
            for uuid, error in collector.errors.items()
            if uuid not in collector.matched
        ]
        return MatchResult(tuple(collector.matched), tuple(failures))

    def _unindexed(self, text: str) -> "Unindexed":
        unindexed: Unindexed | None = self._candidates.get(text)
        if unindexed is None:
            tree = syntax_tree(text, self._max_length)
            keys = [] if can_raise(tree) else required_keys(path_nodes(tree))
            unindexed = Unindexed(text, most_selective(keys), compile_tree(tree))
        return unindexed


@dataclass(frozen=True, slots=True, eq=False)
class Unindexed:
    """A JSONPath without a shape, compiled, and the subscriptions that have it.

    It is a candidate whose name is the text of the JSONPath.
    """

    name: str
    required_key: str | None
    condition: Condition
    subscriptions: set[UUID] = field(default_factory=set)

    def search(self, event: Records, collector: MatchCollector) -> None:
        """Evaluate the JSONPath on an event, once for all its subscriptions."""
        try:
            if has_match(self.condition, event.values[0], event.budget):
                collector.matched.update(self.subscriptions)
        except ExpressionError as error:
            collector.errors.update(dict.fromkeys(self.subscriptions, error))


def _failure(uuid: UUID, error: ExpressionError) -> MatchFailure:
    return MatchFailure(uuid, str(error), budget_exceeded=isinstance(error, BudgetExceeded))
