"""Choose the groups of subscriptions that could match an event, by the keys that they require."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.matching.record_scan import Records

# Searching this many groups takes less time than collecting the keys of a large event.
_MAX_UNFILTERED = 50
# What is kept of an expected time after a shorter search, and after none.
_KEPT_AFTER_SEARCH = 0.8
_KEPT_AFTER_NONE = 0.99


@dataclass(frozen=True, slots=True)
class MatchCollector:
    """The results of the searches for one event.

    `unfinished` are those for which a search took too long. A subscription can be in several: if
    one search for it failed and another one found it.
    """

    matched: set[UUID] = field(default_factory=set)
    errors: dict[UUID, ExpressionError] = field(default_factory=dict)
    unfinished: set[UUID] = field(default_factory=set)


class SearchCost:
    """How long a group is expected to take, by the searches before.

    Slow searches count for long, because a group that is slow only now and then is slow. A single
    one among others does not count: Python's garbage collection may have fallen into it.
    """

    __slots__ = ("_longest", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        self._longest = math.inf  # the first search counts

    def took(self, seconds: float) -> None:
        """Take note of how long a search took."""
        self.seconds = max(min(seconds, self._longest), self.seconds * _KEPT_AFTER_SEARCH)
        longest = 0.0 if self._longest == math.inf else self._longest * _KEPT_AFTER_SEARCH
        self._longest = max(seconds, longest)

    def was_not_searched(self) -> None:
        """Expect a little less, so that the group is tried again some time."""
        self.seconds *= _KEPT_AFTER_NONE


class Candidate(Protocol):
    """A group of subscriptions that are searched together."""

    @property
    def name(self) -> Hashable:
        """What identifies the group."""

    @property
    def required_key(self) -> str | None:
        """A member name without which a search neither finds nor raises anything."""

    @property
    def cost(self) -> SearchCost:
        """How long a search is expected to take."""

    @property
    def size(self) -> int:
        """About how many subscriptions the group has."""

    def subscriptions(self) -> Iterable[UUID]:
        """Return the subscriptions of the group."""

    def search(self, event: Records, collector: MatchCollector) -> None:
        """Find the subscriptions that an event, the only record, matches."""


class Candidates:
    """Groups of subscriptions, by name and by required key."""

    def __init__(self) -> None:
        self._by_name: dict[Hashable, Any] = {}
        self._by_key: dict[str | None, dict[Hashable, Candidate]] = {}

    def get(self, name: Hashable) -> Any:
        """Return the group of this name, or `None`."""
        return self._by_name.get(name)

    def add(self, candidate: Candidate) -> None:
        """Add a group, unless it is there."""
        self._by_name[candidate.name] = candidate
        self._by_key.setdefault(candidate.required_key, {})[candidate.name] = candidate

    def remove(self, candidate: Candidate) -> None:
        """Remove a group, if it is there."""
        if self._by_name.pop(candidate.name, None) is None:
            return
        same_key = self._by_key[candidate.required_key]
        del same_key[candidate.name]
        if not same_key:
            del self._by_key[candidate.required_key]

    def for_event(self, event: Any) -> Iterable[Candidate]:
        """Return the groups that could match an event."""
        if len(self._by_name) <= _MAX_UNFILTERED:
            return list(self._by_name.values())
        found = list(self._by_key.get(None, {}).values())
        for key in self._by_key.keys() & _keys_in(event):
            found += self._by_key[key].values()
        return found


def most_selective(keys: Sequence[str]) -> str | None:
    """Return the key that the fewest events are expected to have: the last, or `None`."""
    return keys[-1] if keys else None


def _keys_in(event: Any) -> set[str]:
    """Return all member names of an event, at any depth."""
    keys: set[str] = set()
    pending = [event]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            keys.update(value)
            value = value.values()
        elif not isinstance(value, list):
            continue
        pending += [each for each in value if isinstance(each, (dict, list))]
    return keys
