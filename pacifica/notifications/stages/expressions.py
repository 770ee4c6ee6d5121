"""The JSONPaths of jobs, compiled as those of live events are, with the same budget."""

from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

from pacifica.notifications.events import Event
from pacifica.notifications.jsontext import count_values
from pacifica.notifications.matching import SubscriptionIndex

# Indexes of so many sets of JSONPaths are kept.
_MAX_KEPT = 32


class Expressions:
    """Matches events with a few JSONPaths at a time; one thread at a time may use it."""

    def __init__(self, budget: int, max_length: int) -> None:
        self._index = lru_cache(_MAX_KEPT)(lambda *texts: _index(texts, budget, max_length))

    def match(self, event: Event, jsonpaths: Sequence[str]) -> list[bool | None]:
        """Return whether an event matches each of the JSONPaths; None where one fails on it.

        One that does not parse matches nothing.
        """
        try:
            document = event.document()
        except (ValueError, RecursionError):  # older versions cut large events on MySQL
            return [False] * len(jsonpaths)
        result = self._index(*jsonpaths).match(document, count_values(event.encoded))
        failed = {each.uuid for each in result.failures} | result.unfinished
        return [
            None if UUID(int=number) in failed else UUID(int=number) in result.matched
            for number in range(len(jsonpaths))
        ]


def _index(jsonpaths: Sequence[str], budget: int, max_length: int) -> SubscriptionIndex:
    index = SubscriptionIndex(budget, max_length)
    for number, jsonpath in enumerate(jsonpaths):
        index.upsert(UUID(int=number), jsonpath)
    return index
