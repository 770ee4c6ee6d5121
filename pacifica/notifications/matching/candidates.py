"""All that is searched for an event, found by what the event must have."""

from collections.abc import Hashable, Iterable
from typing import Any, Protocol

from pacifica.notifications.matching.findings import Findings
from pacifica.notifications.matching.needs import keys_in
from pacifica.notifications.matching.rows import Rows

# For this few, to look at each takes less time than to look at all keys of a large event.
_FEW = 50


class Candidate(Protocol):
    """A group of subscriptions; `key` is a member name without which it finds nothing."""

    @property
    def name(self) -> Hashable:
        """What it is known by."""

    @property
    def key(self) -> str | None:
        """A member name that an event needs for a search to find, or to raise, anything."""

    def search(self, event: Rows, findings: Findings) -> None:
        """Find which of its subscriptions an event, the only row, matches."""


class Candidates:
    """Groups of subscriptions by their names and by the keys that they need."""

    def __init__(self) -> None:
        self._by_name: dict[Hashable, Any] = {}
        self._by_key: dict[str | None, dict[Hashable, Candidate]] = {}

    def get(self, name: Hashable) -> Any:
        """Return the group of this name, or `None`."""
        return self._by_name.get(name)

    def add(self, candidate: Candidate) -> None:
        """Add a group, unless it is here."""
        self._by_name[candidate.name] = candidate
        self._by_key.setdefault(candidate.key, {})[candidate.name] = candidate

    def drop(self, candidate: Candidate) -> None:
        """Take a group out, if it is here."""
        if self._by_name.pop(candidate.name, None) is None:
            return
        same_key = self._by_key[candidate.key]
        del same_key[candidate.name]
        if not same_key:
            del self._by_key[candidate.key]

    def of(self, event: Any) -> Iterable[Candidate]:
        """Return the groups that an event has to be searched for."""
        if len(self._by_name) <= _FEW:
            return list(self._by_name.values())
        found = list(self._by_key.get(None, {}).values())
        for key in self._by_key.keys() & keys_in(event):
            found += self._by_key[key].values()
        return found
