"""Goes on with jobs: one worker process at a time does so, for a moment, and for one user.

Then whatever else is due goes first, for at least as long as that took.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import perf_counter
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.backtest import Backtester, BacktestProgress
from pacifica.notifications.stages.expressions import Expressions
from pacifica.notifications.stages.replay import Replayer, ReplayProgress
from pacifica.notifications.stages.visibility import Visibility
from pacifica.notifications.store.claims import keep_turn, take_turn
from pacifica.notifications.store.jobs import (
    ClaimedJob,
    JobKind,
    claim_job,
    forget_ended,
    record_progress,
    seconds_until_due,
)

_LOG = logging.getLogger(__name__)
_LOCK = "jobs"
#: Seconds after which another process may go on, if the one that has the lock says no more. The
#: message that goes on is void then.
LOCK_SECONDS = 5.0
# Seconds after which a job is due again whose worker was killed.
_LEASE = 5.0
# Seconds that the next message may wait; what is due later is found by a sweep.
_MAX_WAIT = 2.0
# A slice is followed by a rest so many times as long: three made a backtest take over a minute.
_REST = 1.0
# A job that ended its workers so often is given up.
_MAX_ATTEMPTS = 5
# Seconds that a job may take, waiting included.
_MAX_AGE = {JobKind.BACKTEST: 86400.0, JobKind.REPLAY: 7 * 86400.0}


@dataclass(frozen=True)
class NextSlice:
    """The next slice of work: in so many seconds, by whoever has the lock until then."""

    turn: datetime
    wait: float


class JobRunner:
    """Goes on with the jobs of one user after another."""

    def __init__(
        self,
        settings: Settings,
        visibility: Visibility,
        nudge_policy: Callable[[Sequence[UUID]], None],
    ) -> None:
        expressions = Expressions(settings.matching.budget, settings.eventmatch.jsonpath_max_length)
        self._backtester = Backtester(expressions, visibility)
        self._replayer = Replayer(expressions, visibility, nudge_policy)
        self._lock = threading.Lock()

    @staticmethod
    def begins() -> datetime | None:
        """Take the lock if a job is due; None if none is, or another process is at work.

        Raises StoreUnavailable.
        """
        wait = seconds_until_due()
        return None if wait is None or wait > _MAX_WAIT else take_turn(_LOCK, LOCK_SECONDS)

    def go_on(self, turn: datetime) -> NextSlice | None:
        """Go on with one job for a moment; return when to go on, or None: not before a sweep.

        Does nothing if the lock that was held until `turn` is another's. Raises StoreUnavailable.
        """
        kept = keep_turn(_LOCK, turn, LOCK_SECONDS)
        if kept is None:
            return None
        began = perf_counter()
        claimed = claim_job(_LEASE)
        if claimed is not None:
            with self._lock:
                self._advance(claimed)
        wait = seconds_until_due()
        if wait is None or wait > _MAX_WAIT:
            keep_turn(_LOCK, kept, 0.0)
            return None
        return NextSlice(kept, min(max(wait, _REST * (perf_counter() - began)), _MAX_WAIT))

    @staticmethod
    def forget_some() -> int:
        """Delete some of the jobs that ended long ago; raises StoreUnavailable."""
        return forget_ended()

    def _advance(self, claimed: ClaimedJob) -> None:
        job = claimed.job
        too_old = utcnow() - job.created > timedelta(seconds=_MAX_AGE[job.kind])
        if too_old or claimed.attempts > _MAX_ATTEMPTS:
            _give_up(claimed, "time" if too_old else "error")
            return
        worker = self._backtester if job.kind is JobKind.BACKTEST else self._replayer
        try:
            worker.advance(claimed)
        except NotificationsError:
            raise
        except Exception:  # noqa: BLE001 the edge of one job, which must not stop the others
            _LOG.exception("the %s %s failed", job.kind, job.uuid)
            _give_up(claimed, "error")


def _give_up(claimed: ClaimedJob, reason: str) -> None:
    kind = BacktestProgress if claimed.job.kind is JobKind.BACKTEST else ReplayProgress
    before: BacktestProgress | ReplayProgress = kind.read(claimed.job.progress)
    progress = replace(before, stopped=reason, waits_for="")
    record_progress(claimed, progress.written(), None, failed=True)
