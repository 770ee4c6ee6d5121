"""Hold the enabled subscriptions, and find those that an event matches."""

import math
from dataclasses import dataclass, field
from time import perf_counter, thread_time
from typing import Any
from uuid import UUID

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching.candidates import (
    Candidate,
    Candidates,
    MatchCollector,
    SearchCost,
    most_selective,
)
from pacifica.notifications.matching.compiler import compile_tree
from pacifica.notifications.matching.evaluation import (
    DEFAULT_BUDGET,
    Condition,
    budget_for,
    has_match,
)
from pacifica.notifications.matching.hash_index import HashIndexes, IndexPosition
from pacifica.notifications.matching.parser import MAX_LENGTH, check_length, syntax_tree
from pacifica.notifications.matching.record_scan import Records
from pacifica.notifications.matching.syntax_tree import can_raise, path_nodes, required_keys

# Seconds: a group that takes less for each of its subscriptions is always searched, because it
# would take longer to evaluate the expressions of these one by one.
_CHEAP_SECONDS_EACH = 20e-6
# So is a group of so many that was not searched before.
_MANY = 50
# The steps that one JSONPath takes a second, and the fewest that it may take however late it is.
_STEPS_PER_SECOND, _LEAST_STEPS = 2_000_000, 5000


@dataclass(frozen=True, slots=True)
class MatchFailure:
    """A subscription whose JSONPath did not parse, or failed on an event.

    `error` is one line for its owner.
    """

    uuid: UUID
    error: str


@dataclass(frozen=True, slots=True)
class MatchResult:
    """The subscriptions that an event matches, and those whose evaluation failed on it.

    `unfinished` are those that took too long: they may match or fail, too.
    """

    matched: tuple[UUID, ...]
    failures: tuple[MatchFailure, ...]
    unfinished: frozenset[UUID] = frozenset()


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
        self._postponed: dict[UUID, str] = {}

    def upsert(self, uuid: UUID, jsonpath: str) -> MatchFailure | None:
        """Add a subscription, or replace the JSONPath of the one with this UUID.

        If the JSONPath does not parse, this returns why. The subscription is then not in the
        index, not even with its former JSONPath.
        """
        self._postponed.pop(uuid, None)
        try:
            check_length(jsonpath, self._max_length)
            position = self._hash_indexes.position(jsonpath) or self._unindexed(jsonpath)
        except ExpressionError as error:
            self.remove(uuid)
            return MatchFailure(uuid, str(error))
        if self._positions.get(uuid) == position:
            return None
        self.remove(uuid)
        self._positions[uuid] = position
        if isinstance(position, Unindexed):
            position.members.add(uuid)
            self._candidates.add(position)
        else:
            self._hash_indexes.add(position, uuid)
        return None

    def postpone(self, uuid: UUID, jsonpath: str) -> MatchFailure | None:
        """Add a subscription as `upsert` does, but only later if its JSONPath has to be parsed.

        Until `add_postponed` adds it, it is unfinished for each event.
        """
        if self._hash_indexes.has_template_of(jsonpath) or self._candidates.get(jsonpath):
            return self.upsert(uuid, jsonpath)
        self.remove(uuid)
        self._postponed[uuid] = jsonpath
        return None

    def add_postponed(self, max_seconds: float) -> list[MatchFailure]:
        """Add postponed subscriptions for so many seconds of the thread's own time.

        Returns those that do not parse.
        """
        ends = thread_time() + max_seconds
        failures = []
        while self._postponed and thread_time() < ends:
            failure = self.upsert(*next(iter(self._postponed.items())))
            if failure is not None:
                failures.append(failure)
        return failures

    def remove(self, uuid: UUID) -> None:
        """Remove a subscription, if it is in the index."""
        self._postponed.pop(uuid, None)
        position = self._positions.pop(uuid, None)
        if isinstance(position, Unindexed):
            position.members.discard(uuid)
            if not position.members:
                self._candidates.remove(position)
        elif position is not None:
            self._hash_indexes.remove(position, uuid)

    def match(self, event: Any, values: int = 0, max_seconds: float = math.inf) -> MatchResult:
        """Return which subscriptions an event matches; it is what `json.loads` returns.

        `values` is how many values the event has, or more: the budget grows with it. The groups
        that take the least time for each of their subscriptions are searched first, for about
        `max_seconds` of the thread's own time, in which nothing else is counted that the machine
        does. A JSONPath alone may take no more steps than fit in what is left of them. One that
        raises is a failure of each subscription that has it, and does not affect the others.
        """
        collector = MatchCollector()
        collector.unfinished.update(self._postponed)
        records = Records([event], event, budget_for(self._budget, values))
        spent, checkpoint = 0.0, thread_time()
        for candidate in sorted(self._candidates.for_event(event), key=_seconds_each):
            if spent + candidate.cost.seconds >= max_seconds and not _is_cheap(candidate):
                collector.unfinished.update(candidate.subscriptions())
                candidate.cost.was_not_searched()
                continue
            budget = _steps_in(max_seconds - spent)
            is_limited = isinstance(candidate, Unindexed) and budget < records.budget
            searched = Records([event], event, int(budget)) if is_limited else records
            began = perf_counter()
            candidate.search(searched, collector)
            took = perf_counter() - began
            if took > _CHEAP_SECONDS_EACH:  # the thread's own time is known, but asking takes long
                began, checkpoint = checkpoint, thread_time()
                took = min(took, checkpoint - began)
            candidate.cost.took(took)
            spent += took
        unfinished = collector.unfinished - collector.matched
        failures = [
            MatchFailure(uuid, str(error))
            for uuid, error in collector.errors.items()
            if uuid not in collector.matched and uuid not in unfinished
        ]
        return MatchResult(tuple(collector.matched), tuple(failures), frozenset(unfinished))

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
    members: set[UUID] = field(default_factory=set)
    cost: SearchCost = field(default_factory=SearchCost)

    @property
    def size(self) -> int:
        """How many subscriptions have it."""
        return len(self.members)

    def subscriptions(self) -> set[UUID]:
        """Return the subscriptions that have it."""
        return self.members

    def search(self, event: Records, collector: MatchCollector) -> None:
        """Evaluate the JSONPath on an event, once for all its subscriptions."""
        try:
            if has_match(self.condition, event.values[0], event.budget):
                collector.matched.update(self.members)
        except BudgetExceeded:
            collector.unfinished.update(self.members)
        except ExpressionError as error:
            collector.errors.update(dict.fromkeys(self.members, error))


def _steps_in(seconds: float) -> float:
    return max(seconds * _STEPS_PER_SECOND, _LEAST_STEPS)


def _is_cheap(candidate: Candidate) -> bool:
    is_known = candidate.cost.seconds > 0 or candidate.size >= _MANY
    return is_known and _seconds_each(candidate) < _CHEAP_SECONDS_EACH


def _seconds_each(candidate: Candidate) -> float:
    return candidate.cost.seconds / max(candidate.size, 1)
