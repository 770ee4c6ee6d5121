"""What backtests and replays have in common: their periods, states and lists."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import cherrypy

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.jsontext import read_json
from pacifica.notifications.rest import paging
from pacifica.notifications.rest.body import read_body
from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.errors import encode_text
from pacifica.notifications.stages.period import Period
from pacifica.notifications.store.jobs import JobPage, JobState, NewJob, StoredJob, start
from pacifica.notifications.store.position import Position
from pacifica.notifications.validation import Schema

#: The JSON schema of a time in a body.
MOMENT = {"type": "string", "minLength": 1, "maxLength": 64}


def body_of(schema: Schema) -> dict[str, Any]:
    """Return the request's body, which keeps a schema; raises InvalidInput."""
    limits = context().settings.eventmatch
    body = read_json(read_body(limits.max_body), limits.max_depth)
    schema.check(body)
    return dict(body)


def period_of(body: Mapping[str, Any]) -> Period:
    """Return the period that a body asks for, up to now at most; raises InvalidInput."""
    now = utcnow()
    start = paging.moment(body["from"], "from")
    end = min(paging.moment(body["to"], "to"), now) if body.get("to") is not None else now
    if start >= end:
        earlier = "to" if start < now else "now"
        raise InvalidInput(("from", f"must be earlier than {earlier}"))
    return Period(start, end)


def begin(new: NewJob) -> StoredJob:
    """Begin a job, or return the one that its request began before, and tell the workers.

    Raises JobConflict and IdempotencyMismatch.
    """
    job = start(new)
    context().app.publisher.nudge_jobs()
    return job


def accepted(shown: Mapping[str, Any], location: str) -> bytes:
    """Answer that a job was begun, and where it is."""
    cherrypy.response.status = 202
    cherrypy.response.headers["Location"] = location
    return encode_text(shown)


def page_of(
    read: Callable[[paging.PageRequest], JobPage],
    shown: Callable[[StoredJob], dict[str, Any]],
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the page of jobs that the query parameters ask for; raises InvalidInput."""
    found = read(paging.page_request(parameters))
    return paging.page([shown(each) for each in found.jobs], found.last)


def state_shown(
    job: StoredJob, period: Period, position: Position | None, stopped: str, waits_for: str
) -> dict[str, Any]:
    """Return where a job is, as it is answered."""
    is_complete = job.state is JobState.FINISHED and not stopped
    covered = period.end if is_complete else _covered(period, position)
    return {
        "uuid": str(job.uuid),
        "state": job.state,
        "created": paging.iso(job.created),
        "finished": paging.iso(job.finished),
        "from": paging.iso(period.start),
        "to": paging.iso(period.end),
        "covered_until": paging.iso(covered),
        "progress": round((covered - period.start) / (period.end - period.start), 3),
        "stopped_by": stopped or None,
        "waits_for": (waits_for or None) if job.state is JobState.RUNNING else None,
    }


def _covered(period: Period, position: Position | None) -> datetime:
    """Return until when a job has looked at events: a whole second, which tells of no event."""
    if position is None:
        return period.start
    whole = position.created.replace(microsecond=0)
    return max(min(whole, period.end), period.start)
