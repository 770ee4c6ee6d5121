"""Subscriptions in dictionaries that the values of an event lead through."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.matching.findings import Findings
from pacifica.notifications.matching.needs import rarest
from pacifica.notifications.matching.ranges import holding, holding_rows
from pacifica.notifications.matching.rows import Rows
from pacifica.notifications.matching.shapes import Tier
from pacifica.notifications.matching.work import exceeded

#: The subscriptions in one place. Most places have one, for which a set would be large.
Members = UUID | set[UUID]
#: A dictionary of a table, or what is at the end of them.
Place = dict[Any, Any] | Members


class Table:
    """The subscriptions of one series of tiers, named by these.

    Dictionaries in dictionaries. A tier has one whose keys are what its operands have to be
    equal to and, where it has comparisons, one below with what these compare to.
    """

    def __init__(self, tiers: Sequence[Tier]) -> None:
        self.name = tuple(tier.text for tier in tiers)
        self.key = rarest([key for tier in tiers for key in tier.needs])
        self._tiers = tiers
        self._top: dict[Any, Any] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no subscription is in it."""
        return not self._top

    def put(self, keys: Sequence[Any], uuid: UUID) -> None:
        """Add a subscription in the place that keys lead to."""
        place = self._top
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        members = place.get(keys[-1])
        if members is None or members == uuid:
            place[keys[-1]] = uuid
        elif isinstance(members, set):
            members.add(uuid)
        else:
            place[keys[-1]] = {members, uuid}

    def remove(self, keys: Sequence[Any], uuid: UUID) -> None:
        """Take a subscription out of a place, if it is there, and drop what is empty then."""
        places = [self._top]
        for key in keys[:-1]:
            if key not in places[-1]:
                return
            places.append(places[-1][key])
        members = places[-1].get(keys[-1])
        if isinstance(members, set):
            members.discard(uuid)
        if not members or members == uuid:
            for place, key in zip(reversed(places), reversed(keys), strict=True):
                place.pop(key, None)
                if place:
                    break

    def search(self, event: Rows, findings: Findings) -> None:
        """Find which subscriptions an event, the only row, matches.

        Where a budget ends before the rows do, the places that only these rows could tell about
        are searched with the rows that there are; who is not found there has failed.
        """
        search = _Search(findings.matched)
        error: ExpressionError = exceeded(event.budget)
        try:
            search.through(self._top, self._tiers, event)
        except RecursionError:
            search.unfinished = [self._top]
            error = ExpressionError("the JSONPath is nested too deep to be evaluated")
        for place in search.unfinished:
            findings.errors.update(dict.fromkeys(_members_of(place), error))


class _Search:
    """A search under way: whom it found, and which places it could not search to the end."""

    def __init__(self, matched: set[UUID]) -> None:
        self.matched = matched
        self.unfinished: list[Place] = []

    def through(self, table: dict[Any, Any], tiers: Sequence[Tier], above: Rows) -> None:
        """Search the dictionary of the first of these tiers, given the rows above it."""
        tier, further = tiers[0], tiers[1:]
        rows = above.below(tier.path)
        if not rows.complete:
            self.unfinished.append(table)
        keys = rows.hits(table, tier.operands)
        if not keys:
            return
        if not (tier.conditions or tier.comparisons or further):
            for key in keys:
                self._find(table[key])
            return
        for key in keys:
            some = rows.having(key, tier.operands)
            passing = _passing(some, tier, just_one=not (tier.comparisons or further))
            if not passing.complete:
                self.unfinished.append(table[key])
            if passing.values:
                self._compare(table[key], tier, further, passing)

    def _compare(self, place: Place, tier: Tier, further: Sequence[Tier], rows: Rows) -> None:
        """Go on from a place to those below it for whose constants rows compare as they should."""
        if not (tier.comparisons and isinstance(place, dict)):
            self._go_on(place, further, rows)
        elif further:
            for below, some in holding_rows(place, tier.comparisons, rows):
                self._go_on(below, further, some)
        else:
            for members in holding(place, tier.comparisons, rows):
                self._find(members)

    def _go_on(self, place: Place, further: Sequence[Tier], rows: Rows) -> None:
        if isinstance(place, dict):
            self.through(place, further, rows)
        else:
            self._find(place)

    def _find(self, members: Members) -> None:
        if isinstance(members, set):
            self.matched |= members
        else:
            self.matched.add(members)


def _passing(rows: Rows, tier: Tier, *, just_one: bool) -> Rows:
    """Return the rows for which the conditions hold: as far as the budget goes."""
    if not tier.conditions:
        return rows
    work = rows.work()
    values = []
    try:
        for value in rows.values:
            if all(test(value, work) for test in tier.conditions):
                values.append(value)
                if just_one:
                    break
    except BudgetExceeded:
        return rows.of(values, complete=False)
    return rows.of(values)


def _members_of(place: Place) -> Iterator[UUID]:
    """Yield the subscriptions in a place, or in all places of a dictionary."""
    if isinstance(place, UUID):
        yield place
    elif isinstance(place, set):
        yield from place
    else:
        for each in place.values():
            yield from _members_of(each)
