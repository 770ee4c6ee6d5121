"""Charts of the operators' page: bars of what waits, and of what went through lately."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pacifica.notifications.metrics import POLICY_QUESTIONS
from pacifica.notifications.store.monitoring import Snapshot
from pacifica.notifications.store.operating import Slot

#: The sizes of the charts (pixels).
WIDTH: Final = 360
_LENGTH, _HEIGHT, _BASE, _GAP = 200, 60, 62, 4


@dataclass(frozen=True)
class Waiting:
    """What waits for one thing: its bar, and how many there are."""

    label: str
    number: int
    length: int
    y: int


@dataclass(frozen=True)
class Column:
    """Some minutes: the bars of events, and of attempts that were taken and failed."""

    start: datetime
    x: int
    width: int
    events: int
    events_height: int
    taken: int
    taken_height: int
    failed: int
    failed_height: int


@dataclass(frozen=True)
class Questions:
    """What Policy was asked since counting began: answers, and their mean time (milliseconds)."""

    allowed: int
    denied: int
    unanswered: int
    milliseconds: int


def backlog(found: Snapshot) -> tuple[Waiting, ...]:
    """Return what waits, as bars of which the longest fills the chart."""
    turn, owner = found.events_deferred
    numbers = {
        "Events for a worker": found.events_waiting,
        "Events for Metadata": sum(found.events_settling.values()),
        "Events for their turn": turn,
        "Events for their owner": owner,
        "Deliveries for Policy": found.deliveries_waiting["matched"],
        "Deliveries for a target": found.deliveries_waiting["allowed"],
        "Deliveries to be fetched": found.deliveries_waiting["available"],
        "Deliveries for a mail": found.deliveries_waiting["collected"],
        "Held deliveries": found.deliveries_waiting["held"],
    }
    highest = max(numbers.values())
    return tuple(
        Waiting(label, number, _scaled(number, highest, _LENGTH), 22 * place)
        for place, (label, number) in enumerate(numbers.items())
    )


def columns(slots: Sequence[Slot]) -> tuple[Column, ...]:
    """Return the last minutes as bars, which all have one scale."""
    highest = max(max(each.events, each.taken + each.failed) for each in slots)
    step = WIDTH // len(slots)
    return tuple(
        Column(
            each.start,
            place * step + 1,
            (step - _GAP) // 2,
            each.events,
            _scaled(each.events, highest, _HEIGHT),
            each.taken,
            _scaled(each.taken, highest, _HEIGHT),
            each.failed,
            _scaled(each.failed, highest, _HEIGHT),
        )
        for place, each in enumerate(slots)
    )


def questions(totals: Mapping[str, int]) -> Questions:
    """Return what Policy was asked and answered, from the totals on record."""
    found = {
        verdict: POLICY_QUESTIONS.buckets(totals, verdict) for verdict in POLICY_QUESTIONS.values
    }
    counts = {verdict: buckets[-1][1] for verdict, (buckets, _sum) in found.items()}
    answered = counts["allow"] + counts["deny"]
    seconds = found["allow"][1] + found["deny"][1]
    return Questions(
        counts["allow"],
        counts["deny"],
        counts["unknown"],
        round(1000 * seconds / answered) if answered else 0,
    )


def seconds_words(seconds: float) -> str:
    """Return a time such as `nothing waits`, `2 s`, `3 min` or `5 h`."""
    if seconds <= 0:
        return "nothing waits"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "less than 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _scaled(number: int, highest: int, size: int) -> int:
    """Return a length that shows also a single one among many."""
    return max(round(size * number / highest), 2) if number else 0
