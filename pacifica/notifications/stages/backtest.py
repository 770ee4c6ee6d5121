"""Backtests: what a JSONPath would have matched in a period, and what a stored one would not."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self
from uuid import UUID

from pacifica.notifications.errors import PolicyUnavailable
from pacifica.notifications.stages.expressions import Expressions
from pacifica.notifications.stages.period import Period
from pacifica.notifications.stages.visibility import Visibility
from pacifica.notifications.stages.walk import (
    Found,
    allowed,
    position_read,
    position_written,
    walk,
)
from pacifica.notifications.store.jobs import ClaimedJob, record_progress
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.walking import Walked, next_events

#: A backtest ends when it has looked at so many events, or when so many count.
MAX_EVENTS: Final = 50_000
MAX_COUNTED: Final = 500
MAX_EXAMPLES: Final = 20
# Seconds before Policy is asked again.
_POLICY_WAIT = 2.0


@dataclass(frozen=True)
class BacktestRequest:
    """What is tested: a JSONPath, against the one of a subscription if `stored` is not None."""

    period: Period
    jsonpath: str
    stored: str | None

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Self:
        """Return what a job's request says."""
        return cls(Period.read(written), written["jsonpath"], written.get("stored"))


@dataclass(frozen=True)
class Counts:
    """How many events match, match only the new JSONPath, only the stored one, or make it fail."""

    matched: int = 0
    gained: int = 0
    lost: int = 0
    failed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        """Return the sum of both."""
        return Counts(
            self.matched + other.matched,
            self.gained + other.gained,
            self.lost + other.lost,
            self.failed + other.failed,
        )


@dataclass(frozen=True)
class Example:
    """An event that counts, and for what."""

    event: UUID
    counts: Counts


@dataclass(frozen=True)
class BacktestProgress:
    """How far a backtest is; `looked` is for its bound and for nobody to see.

    `days` are by their dates. `stopped` is the bound at which it ended; empty: none. `waits_for`
    is `policy` while Policy does not answer.
    """

    position: Position | None = None
    looked: int = 0
    total: Counts = Counts()
    counted: int = 0
    days: Mapping[str, Counts] = field(default_factory=dict)
    examples: Sequence[Example] = ()
    stopped: str = ""
    waits_for: str = ""

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Self:
        """Return what a job's progress says."""
        if not written:
            return cls()
        return cls(
            position_read(written["position"]),
            written["looked"],
            Counts(**written["total"]),
            written["counted"],
            {day: Counts(**counts) for day, counts in written["days"].items()},
            [Example(UUID(event), Counts(**counts)) for event, counts in written["examples"]],
            written["stopped"],
            written["waits_for"],
        )

    def written(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "position": position_written(self.position),
            "looked": self.looked,
            "total": asdict(self.total),
            "counted": self.counted,
            "days": {day: asdict(counts) for day, counts in self.days.items()},
            "examples": [[each.event.hex, asdict(each.counts)] for each in self.examples],
            "stopped": self.stopped,
            "waits_for": self.waits_for,
        }

    def counting(self, found: Sequence[Found[Counts]]) -> Self:
        """Return it with events that count, as far as they do; oldest first."""
        room = MAX_COUNTED - self.counted
        total, days = self.total, dict(self.days)
        examples = list(self.examples)
        for each in found[:room]:
            total += each.what
            day = each.walked.position.created.date().isoformat()
            days[day] = days.get(day, Counts()) + each.what
            examples.append(Example(each.walked.event.uuid, each.what))
        counted = self.counted + min(len(found), room)
        is_full = counted == MAX_COUNTED
        return replace(
            self,
            # Where an event that counts was the last, whatever others were looked at.
            position=found[room - 1].walked.position if is_full else self.position,
            total=total,
            counted=counted,
            days=days,
            examples=examples[-MAX_EXAMPLES:],
            stopped="matches" if is_full else self.stopped,
        )


class Backtester:
    """Goes on with backtests."""

    def __init__(self, expressions: Expressions, visibility: Visibility) -> None:
        self._expressions = expressions
        self._visibility = visibility

    def advance(self, claimed: ClaimedJob) -> None:
        """Go on for a moment, and store how far it is; raises StoreUnavailable."""
        request = BacktestRequest.read(claimed.job.request)
        before = BacktestProgress.read(claimed.job.progress)
        period = request.period
        found = walk(
            lambda after: next_events(period.start, period.end, after),
            lambda walked: self._judged(request, walked),
            before.position,
            MAX_EVENTS - before.looked,
        )
        try:
            counted = allowed(self._visibility, claimed.job.user, found)
        except PolicyUnavailable:
            waiting = replace(before, waits_for="policy")
            record_progress(claimed, waiting.written(), _POLICY_WAIT)
            return
        looked = before.looked + found.looked
        stopped = "events" if looked >= MAX_EVENTS and not found.is_over else ""
        looked_at = replace(
            before, position=found.position, looked=looked, stopped=stopped, waits_for=""
        )
        after = looked_at.counting(counted)
        is_over = found.is_over or bool(after.stopped)
        record_progress(claimed, after.written(), None if is_over else 0.0)

    def _judged(self, request: BacktestRequest, walked: Walked) -> Counts | None:
        """Return for what an event counts; None: for nothing."""
        if not walked.is_shown:
            return None
        jsonpaths = [request.jsonpath, *([] if request.stored is None else [request.stored])]
        matches, *others = self._expressions.match(walked.event, jsonpaths)
        # Against no other JSONPath, nothing is gained or lost.
        before = others[0] if others else matches
        counts = Counts(
            int(bool(matches)),
            int(bool(matches) and not before),
            int(bool(before) and not matches),
            int(matches is None),
        )
        return None if counts == Counts() else counts
