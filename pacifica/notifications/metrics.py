"""What a process counts and times, until it adds that to the totals in the database.

The names below are those of the Prometheus metrics, without their prefix. No label has a value that
a user chose, so the number of series is fixed.
"""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

_MICROSECONDS = 1_000_000
_SUM = "sum"


@dataclass(frozen=True)
class Total:
    """A number that only grows; with a label, one for each of its values."""

    name: str
    meaning: str
    label: str = ""
    values: tuple[str, ...] = ("",)

    def key(self, value: str = "") -> str:
        """Return the key under which a number is stored; raises ValueError for another value."""
        return f"{self.name}:{_one_of(self.values, value)}"


@dataclass(frozen=True)
class Durations:
    """How many durations there were up to each of some `limits` (seconds), and their sum."""

    name: str
    meaning: str
    limits: tuple[float, ...]
    label: str = ""
    values: tuple[str, ...] = ("",)

    def key(self, value: str, part: object) -> str:
        """Return the key of the durations past one limit and up to the next, or of the sum."""
        return f"{self.name}:{_one_of(self.values, value)}:{part}"

    def buckets(self, counts: Mapping[str, int], value: str) -> tuple[list[tuple[str, int]], float]:
        """Return the cumulative count up to each limit, the last being `+Inf`, and the sum."""
        total, buckets = 0, []
        for number, limit in enumerate((*map(str, self.limits), "+Inf")):
            total += counts.get(self.key(value, number), 0)
            buckets.append((limit, total))
        return buckets, counts.get(self.key(value, _SUM), 0) / _MICROSECONDS


def _one_of(values: tuple[str, ...], value: str) -> str:
    if value not in values:
        raise ValueError(f"{value!r} is not a value of this label: {', '.join(values)}")
    return value


_REQUEST_LIMITS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_WAY_LIMITS = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0)

EVENTS_RECEIVED: Final = Total("events_received", "Events that were stored.")
DELIVERIES_FINISHED: Final = Total(
    "deliveries_finished",
    "Deliveries that reached their last state. One that is made twice counts twice.",
    "state",
    ("delivered", "denied", "dropped", "expired", "failed"),
)
LEASES_EXPIRED: Final = Total(
    "leases_expired",
    "Work that was begun again because its worker had died or given up.",
    "work",
    ("event", "delivery"),
)
EVENTS_SETTLED: Final = Total(
    "events_settled",
    "Events of Metadata, by what it said of them: it showed them, was away (unknown), did not show "
    "them in time (unsettled), or never did (expired).",
    "settlement",
    ("settled", "unknown", "unsettled", "expired"),
)
EVENTS_PURGED: Final = Total("events_purged", "Finished events that were deleted.")
PULLS: Final = Total(
    "pulls",
    "Requests that fetch deliveries: they got some, or none, or might not wait (busy).",
    "result",
    ("some", "none", "busy"),
)
PULL_LOCKS: Final = Total(
    "pull_locks",
    "Locks of fetched deliveries that ended, by how. Those that ran out (expired) count when the "
    "delivery is fetched again.",
    "end",
    ("acknowledged", "released", "expired"),
)
SWEEPS: Final = Total("sweeps", "Searches for work that is due.")
BROKER_FAILURES: Final = Total("broker_failures", "Messages that could not be sent to the broker.")
ATTEMPTS: Final = Durations(
    "attempt_duration_seconds",
    "Requests to targets by the class of the status; none: no response; refused: by our rules.",
    _REQUEST_LIMITS,
    "status",
    ("1xx", "2xx", "3xx", "4xx", "5xx", "none", "refused"),
)
POLICY_QUESTIONS: Final = Durations(
    "policy_question_duration_seconds",
    "Questions to Policy whether a user may see an event, by its verdict.",
    _REQUEST_LIMITS,
    "verdict",
    ("allow", "deny", "unknown"),
)
RECEIVE_TO_TARGET: Final = Durations(
    "receive_to_target_seconds",
    "From storing an event to the response of a target that has taken it.",
    _WAY_LIMITS,
)
MAILS: Final = Durations(
    "mail_duration_seconds",
    "Mails handed to the mail server by the class of its answer; none: there was no answer.",
    _REQUEST_LIMITS,
    "status",
    ("2xx", "3xx", "4xx", "5xx", "none"),
)
TOTALS: Final = (
    EVENTS_RECEIVED,
    EVENTS_SETTLED,
    EVENTS_PURGED,
    DELIVERIES_FINISHED,
    LEASES_EXPIRED,
    PULLS,
    PULL_LOCKS,
    SWEEPS,
    BROKER_FAILURES,
)
DURATIONS: Final = (ATTEMPTS, MAILS, POLICY_QUESTIONS, RECEIVE_TO_TARGET)


class Tallies:
    """The counts of one process since they were last taken; any thread may add to them.

    Within `transaction`, what its thread adds counts only if the block succeeds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._local = threading.local()

    def add(self, total: Total, count: int = 1, value: str = "") -> None:
        """Add to a total; `value` is that of its label."""
        if count:
            self._add({total.key(value): count})

    def observe(self, durations: Durations, seconds: float, value: str = "") -> None:
        """Add one duration; one that a changed clock makes negative counts as 0."""
        seconds = max(seconds, 0.0)
        bucket = bisect_left(durations.limits, seconds)
        microseconds = round(seconds * _MICROSECONDS)
        self._add({durations.key(value, bucket): 1, durations.key(value, _SUM): microseconds})

    def take(self) -> Mapping[str, int]:
        """Return all counts, by their keys, and begin again at 0."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken

    def put_back(self, counts: Mapping[str, int]) -> None:
        """Add counts that were taken and could not be stored."""
        with self._lock:
            self._counts.update(counts)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Count what the thread adds during the block, unless it raises."""
        pending: Counter[str] = Counter()
        self._local.pending = pending
        try:
            yield
        finally:
            self._local.pending = None
        if pending:
            self.put_back(pending)

    def _add(self, counts: Mapping[str, int]) -> None:
        pending: Counter[str] | None = getattr(self._local, "pending", None)
        if pending is not None:
            pending.update(counts)
        else:
            self.put_back(counts)
