"""Jobs of users, which workers go on with a little at a time: backtests and replays."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import IdempotencyMismatch, JobConflict
from pacifica.notifications.jsontext import write_json
from pacifica.notifications.orm import DB, EventMatch, Job, reading, writing
from pacifica.notifications.store.audit import record
from pacifica.notifications.store.claims import claim
from pacifica.notifications.store.position import Position, newest_first
from pacifica.notifications.store.revisions import lock_changes

#: How many replays of one user run at once; of one subscription, one does.
MAX_REPLAYS = 5
#: So many finished jobs of each kind are kept for a user, and for so many seconds.
MAX_KEPT = 50
KEPT_SECONDS = 30 * 86400.0
_DELETED_AT_ONCE = 500
# Before any time on record, so that an index finds the jobs that have something to do.
_NEVER = datetime(1, 1, 1)


class JobKind(StrEnum):
    """What a job does."""

    BACKTEST = "backtest"
    REPLAY = "replay"


class JobState(StrEnum):
    """Where a job is; work is due only in the first."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True)
class NewJob:
    """A job that a user asks for; `request` is a JSON object, with what its user `asked` literally.

    `idempotency` tells requests with the same key; empty: it had none.
    """

    kind: JobKind
    user: str
    request: Mapping[str, Any]
    subscription: UUID | None = None
    idempotency: str = ""


@dataclass(frozen=True)
class StoredJob:
    """A job on record; `progress` is empty before a worker has begun it."""

    uuid: UUID
    kind: JobKind
    user: str
    subscription: UUID | None
    state: JobState
    created: datetime
    finished: datetime | None
    request: Mapping[str, Any]
    progress: Mapping[str, Any]

    @property
    def position(self) -> Position:
        """The place of the job in lists."""
        return Position(self.created, self.uuid)


@dataclass(frozen=True)
class ClaimedJob:
    """A job that the caller goes on with until `leased`; `attempts` counts this claim."""

    job: StoredJob
    leased: datetime
    attempts: int


@dataclass(frozen=True)
class JobPage:
    """Some jobs, and the position behind which others follow; None: none do."""

    jobs: Sequence[StoredJob]
    last: Position | None


@writing
def start(new: NewJob) -> StoredJob:
    """Store a job that is due at once, or return the one that its request began before.

    Raises JobConflict while too many of its kind run or its subscription is disabled, and
    IdempotencyMismatch.
    """
    lock_changes()  # so that others who start a job, or disable its subscription, wait
    jobs = _all_of(new.user, new.kind)
    for job, idempotency in jobs:
        if new.idempotency and idempotency == new.idempotency:
            if job.request.get("asked") != new.request.get("asked"):
                raise IdempotencyMismatch
            return job
    if new.kind is JobKind.REPLAY:
        _require_enabled(new.subscription)
    _require_few([job for job, _ in jobs if job.state is JobState.RUNNING], new)
    ended = [job.uuid for job, _ in jobs if job.state is not JobState.RUNNING]
    if len(ended) >= MAX_KEPT:
        Job.delete().where(Job.uuid.in_(ended[MAX_KEPT - 1 :])).execute()
    now = utcnow()
    row = Job.create(
        kind=new.kind,
        user=new.user,
        subscription=new.subscription,
        state=JobState.RUNNING,
        created=now,
        due=now,
        turn=now,
        idempotency=new.idempotency,
        request=write_json(dict(new.request)),
    )
    if new.kind is JobKind.REPLAY:
        _audit(_stored(row), "replay created", dict(new.request))
    return _stored(row)


@reading
def job_of(
    user: str, kind: JobKind, uuid: UUID, subscription: UUID | None = None
) -> StoredJob | None:
    """Return a user's job, of that subscription if one is given; None if there is none."""
    row = Job.get_or_none(Job.uuid == uuid)
    if row is None or (row.user, row.kind) != (user, kind):
        return None
    return _stored(row) if subscription in (None, row.subscription) else None


@reading
def page_of_jobs(
    user: str,
    kind: JobKind,
    limit: int,
    after: Position | None = None,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    subscription: UUID | None = None,
) -> JobPage:
    """Return up to `limit` of a user's jobs, newest first, from a position on."""
    query = Job.select().where(Job.user == user, Job.kind == kind)
    if subscription is not None:
        query = query.where(Job.subscription == subscription)
    ordered = newest_first(query, Job.created, Job.uuid, after, start, end)
    found = [_stored(row) for row in ordered.limit(limit + 1)]
    last = found[limit - 1].position if len(found) > limit else None
    return JobPage([each for each in found[:limit] if each.user == user], last)


@writing
def cancel(job: StoredJob) -> StoredJob:
    """End a job, if it runs, and return it: no worker goes on with it."""
    ended = {"state": JobState.CANCELLED, "due": None, "finished": utcnow()}
    is_running = Job.uuid == job.uuid, Job.state == JobState.RUNNING
    if Job.update(**ended).where(*is_running).execute() and job.kind is JobKind.REPLAY:
        _audit(job, "replay cancelled", {})
    return _stored(Job.get_by_id(job.uuid))


@writing
def claim_job(lease: float) -> ClaimedJob | None:
    """Claim a due job of the user who has waited longest for a turn, for `lease` seconds."""
    now = utcnow()
    rows = claim(
        Job,
        Job.state == JobState.RUNNING,
        columns=(Job.uuid, Job.user, Job.attempts),
        now=now,
        lease=lease,
        order=Job.turn,
        limit=1,
        also={Job.attempts: Job.attempts + 1},
    )
    for uuid, user, attempts in rows:
        Job.update(turn=now).where(Job.user == user, Job.due > _NEVER).execute()
        leased = now + timedelta(seconds=lease)
        return ClaimedJob(_stored(Job.get_by_id(uuid)), leased, attempts + 1)
    return None


@writing
def is_still_claimed(claimed: ClaimedJob) -> bool:
    """Tell whether nobody has cancelled or claimed a job since; until the transaction ends."""
    query = Job.select(Job.uuid).where(*_claim_of(claimed))
    return (query.for_update() if DB.for_update else query).exists()


@writing
def record_progress(
    claimed: ClaimedJob, progress: Mapping[str, Any], wait: float | None, *, failed: bool = False
) -> bool:
    """Store how far a job is, and have it go on in `wait` seconds; None: it has ended.

    Nothing is stored if it was cancelled or claimed since. Tells whether it was stored.
    """
    now = utcnow()
    changes: dict[str, Any] = {"progress": write_json(dict(progress)), "attempts": 0}
    if wait is None:
        state = JobState.FAILED if failed else JobState.FINISHED
        changes |= {"state": state, "due": None, "finished": now}
    else:
        changes["due"] = now + timedelta(seconds=wait)
    return bool(Job.update(**changes).where(*_claim_of(claimed)).execute())


@reading
def seconds_until_due() -> float | None:
    """Return in how many seconds the next job is due; None if none has anything to do."""
    first = Job.select(peewee.fn.MIN(Job.due)).scalar()
    return None if first is None else max((first - utcnow()).total_seconds(), 0.0)


@writing
def forget_ended() -> int:
    """Delete some of the jobs that ended too long ago; return how many."""
    long_ago = utcnow() - timedelta(seconds=KEPT_SECONDS)
    rows = Job.select(Job.uuid).where(Job.created < long_ago, Job.finished < long_ago)
    old = [row.uuid for row in rows.order_by(Job.created).limit(_DELETED_AT_ONCE)]
    return int(Job.delete().where(Job.uuid.in_(old)).execute()) if old else 0


def running_jobs() -> dict[str, int]:
    """Return how many jobs of each kind run; the caller has connected."""
    rows: Any = Job.select(Job.kind, peewee.fn.COUNT(Job.uuid)).where(Job.due > _NEVER)
    return {**dict.fromkeys(JobKind, 0), **dict(rows.group_by(Job.kind).tuples())}


def _require_enabled(subscription: UUID | None) -> None:
    row = EventMatch.get_or_none(EventMatch.uuid == subscription)
    if row is None or row.deleted is not None:
        raise JobConflict("the subscription is deleted")
    if row.disabled is not None:
        raise JobConflict("the subscription is disabled: enable it first")


def _require_few(running: Sequence[StoredJob], new: NewJob) -> None:
    for job in running:
        if new.kind is JobKind.BACKTEST or job.subscription == new.subscription:
            raise JobConflict(f"the {new.kind} {job.uuid} is running: wait for it, or cancel it")
    if len(running) >= MAX_REPLAYS:
        raise JobConflict(f"{MAX_REPLAYS} replays of yours are running: wait for one of them")


def _claim_of(claimed: ClaimedJob) -> tuple[Any, ...]:
    job = claimed.job.uuid
    return Job.uuid == job, Job.due == claimed.leased, Job.state == JobState.RUNNING


def _all_of(user: str, kind: JobKind) -> list[tuple[StoredJob, str]]:
    """Return the jobs of a user, newest first, with what tells their requests."""
    rows = Job.select().where(Job.user == user, Job.kind == kind)
    ordered = newest_first(rows, Job.created, Job.uuid)
    # MySQL itself ignores blanks at the end of a name.
    return [(_stored(row), row.idempotency) for row in ordered if row.user == user]


def _audit(job: StoredJob, action: str, details: Mapping[str, Any]) -> None:
    described = {"replay": str(job.uuid), **details}
    record(job.user, action, job.user, job.subscription, described)


def _stored(row: Job) -> StoredJob:
    return StoredJob(
        row.uuid,
        JobKind(row.kind),
        row.user,
        row.subscription,
        JobState(row.state),
        row.created,
        row.finished,
        json.loads(row.request),
        json.loads(row.progress),
    )
