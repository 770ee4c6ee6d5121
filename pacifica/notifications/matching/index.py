"""The enabled subscriptions, held so that one pass over them finds all that match an event.

A JSONPath is read in this order: its text is divided into template and constants; the first one
of a template is parsed, and its tree becomes a shape; the constants then are a place in the
tables of the shape. What has no shape is compiled and evaluated on its own.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching.candidates import Candidates
from pacifica.notifications.matching.findings import Findings
from pacifica.notifications.matching.grammar import MAX_LENGTH, check_length
from pacifica.notifications.matching.lone import Lone, LoneExpressions
from pacifica.notifications.matching.rows import Rows
from pacifica.notifications.matching.shaped import Shaped, ShapedExpressions
from pacifica.notifications.matching.work import DEFAULT_BUDGET


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


class SubscriptionIndex:
    """The enabled subscriptions, each in the place that its JSONPath has.

    `budget` is the steps that one evaluation may take, `max_length` the characters that a
    JSONPath may have. Putting and removing take as long whatever else is in the index. Not for
    use by several threads at once.
    """

    def __init__(self, budget: int = DEFAULT_BUDGET, max_length: int = MAX_LENGTH) -> None:
        self._budget = budget
        self._max_length = max_length
        self._candidates = Candidates()
        self._shaped = ShapedExpressions(self._candidates)
        self._lone = LoneExpressions(self._candidates)
        self._places: dict[UUID, Shaped | Lone] = {}

    def __len__(self) -> int:
        """Return how many subscriptions are in the index."""
        return len(self._places)

    def put(self, entry: Entry) -> Fault | None:
        """Add a subscription, or replace the one with its UUID.

        Returns what is wrong where the JSONPath does not parse; the subscription then is not in
        the index, with its former JSONPath neither.
        """
        try:
            place = self._place(entry.jsonpath)
        except ExpressionError as error:
            self.remove(entry.uuid)
            return _fault(entry.uuid, error)
        if self._places.get(entry.uuid) == place:
            return None
        self.remove(entry.uuid)
        self._places[entry.uuid] = place
        if isinstance(place, Lone):
            self._lone.put(place, entry.uuid)
        else:
            self._shaped.put(place, entry.uuid)
        return None

    def remove(self, uuid: UUID) -> None:
        """Take a subscription out; one that is not in the index is none to take out."""
        place = self._places.pop(uuid, None)
        if isinstance(place, Lone):
            self._lone.remove(place, uuid)
        elif place is not None:
            self._shaped.remove(place, uuid)

    def match(self, event: Any) -> Matches:
        """Return which subscriptions an event, as `json.loads` returns it, matches.

        A JSONPath that raises or exceeds its budget is a fault of each subscription that has it,
        and nothing to the others.
        """
        findings = Findings()
        rows = Rows([event], event, self._budget)
        for candidate in self._candidates.of(event):
            candidate.search(rows, findings)
        faults = [
            _fault(uuid, error)
            for uuid, error in findings.errors.items()
            if uuid not in findings.matched
        ]
        return Matches(tuple(findings.matched), tuple(faults))

    def _place(self, jsonpath: str) -> Shaped | Lone:
        check_length(jsonpath, self._max_length)
        return self._shaped.place(jsonpath) or self._lone.place(jsonpath, self._max_length)


def _fault(uuid: UUID, error: ExpressionError) -> Fault:
    return Fault(uuid, str(error), exhausted=isinstance(error, BudgetExceeded))
