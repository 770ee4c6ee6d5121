"""`/eventmatch/ID/replays`: the deliveries of a period are made again."""

from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import cherrypy

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.flow import State
from pacifica.notifications.rest import deliveries, jobs, paging
from pacifica.notifications.rest.access import Access, not_found, require_owned
from pacifica.notifications.rest.admission import require_proxy
from pacifica.notifications.rest.errors import ApiError, answering_errors, encode_text
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.stages.replay import (
    REPLAYED_STATES,
    Matching,
    ReplayMode,
    ReplayProgress,
    ReplayRequest,
)
from pacifica.notifications.store.jobs import (
    JobKind,
    JobPage,
    NewJob,
    StoredJob,
    cancel,
    job_of,
    page_of_jobs,
)
from pacifica.notifications.validation import Schema

#: The request header by which a replay that is asked for twice is begun once.
KEY_HEADER: Final = "Idempotency-Key"
_MAX_KEY = 255
_METHODS = {3: ("GET", "HEAD", "POST"), 4: ("DELETE", "GET", "HEAD")}
REPLAY_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "from": jobs.MOMENT,
        "to": {**jobs.MOMENT, "type": ["string", "null"]},
        "mode": {"enum": [str(each) for each in ReplayMode]},
        "match": {"enum": [str(each) for each in Matching]},
        "delivery_state": {"enum": [str(each) for each in REPLAYED_STATES]},
        "type": {"type": "string", "minLength": 1, "maxLength": deliveries.MAX_TYPE},
        "status": {"enum": list(deliveries.STATUSES)},
        "dry_run": {"type": "boolean"},
    },
    "required": ["from", "mode"],
    "additionalProperties": False,
}
_BODY = Schema(REPLAY_SCHEMA)


class Replays:
    """Begin, read, list and cancel the replays of a subscription, by its owner."""

    exposed = True
    _cp_config = {  # noqa: RUF012
        "hooks.on_start_resource": require_proxy,
        "hooks.before_handler": partial(require_known, _METHODS, paging.PARAMETERS),
    }

    def __init__(self, subscription: str) -> None:
        self._subscription = subscription

    @answering_errors
    def GET(self, replay: str | None = None) -> bytes:  # noqa: N802
        """Return a replay, or a page of replays, newest first."""
        if replay is None:
            access = require_owned(self._subscription)
            return encode_text(page_of(access, paging.query()))
        return encode_text(shown(self._found(replay)))

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802
        """Begin a replay, or return the one that the same key has begun."""
        access = require_owned(self._subscription)
        key = _key()
        job = begin(access, jobs.body_of(_BODY), key)
        return jobs.accepted(shown(job), f"/eventmatch/{access.uuid}/replays/{job.uuid}")

    @answering_errors
    def DELETE(self, replay: str) -> bytes:  # noqa: N802
        """Cancel a replay, if it runs, and return it; what is under way is delivered."""
        return encode_text(shown(cancel(self._found(replay))))

    def _found(self, segment: str) -> StoredJob:
        uuid = uuid_of(segment)
        return found(require_owned(self._subscription), uuid)


def check(body: dict[str, Any]) -> None:
    """Raise InvalidInput for a body that does not keep the schema."""
    _BODY.check(body)


def begin(access: Access, body: dict[str, Any], key: str) -> StoredJob:
    """Begin a replay of the caller's subscription, or return the one that the key has begun.

    `body` keeps REPLAY_SCHEMA. Raises InvalidInput, JobConflict and IdempotencyMismatch.
    """
    identity = "\0".join((access.caller, str(access.uuid), key))
    return jobs.begin(
        NewJob(
            JobKind.REPLAY,
            access.caller,
            _request(body),
            access.uuid,
            sha256(identity.encode()).hexdigest(),
        )
    )


def found(access: Access, uuid: UUID) -> StoredJob:
    """Return a replay of the caller's subscription; refuse (403) any other."""
    job = job_of(access.caller, JobKind.REPLAY, uuid, access.uuid)
    if job is None:
        raise not_found()
    return job


def page_of(access: Access, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of the replays of the caller's subscription; raises InvalidInput."""
    return jobs.page_of(partial(_page, access), shown, parameters)


def shown(job: StoredJob) -> dict[str, Any]:
    """Return a replay as it is answered."""
    request, progress = ReplayRequest.read(job.request), ReplayProgress.read(job.progress)
    where = jobs.state_shown(
        job, request.period, progress.position, progress.stopped, progress.waits_for
    )
    return {
        **where,
        "subscription": str(job.subscription),
        "mode": request.mode,
        "match": request.match,
        "delivery_state": request.state,
        "type": request.type,
        "status": request.status and f"{request.status}xx",
        "dry_run": request.dry_run,
        "deliveries": progress.deliveries,
    }


def _key() -> str:
    """Return the request's key; refuse a request without one (400)."""
    key = cherrypy.request.headers.get(KEY_HEADER, "")
    if not (0 < len(key) <= _MAX_KEY and key.isascii() and key.isprintable()):
        raise ApiError(
            400, f"the header {KEY_HEADER} is required, with 1 to {_MAX_KEY} characters of ASCII"
        )
    return str(key)


def _page(access: Access, wanted: paging.PageRequest) -> JobPage:
    return page_of_jobs(
        access.caller,
        JobKind.REPLAY,
        wanted.limit,
        wanted.after,
        start=wanted.start,
        end=wanted.end,
        subscription=access.uuid,
    )


def _request(body: dict[str, Any]) -> dict[str, Any]:
    """Return a job's request for a body, and what was asked for; raises InvalidInput."""
    mode, state, status = body["mode"], body.get("delivery_state"), body.get("status")
    for name in ("delivery_state", "status"):
        if mode == ReplayMode.MISSING and name in body:
            raise InvalidInput(
                (name, "does not go with the mode missing, of which no delivery is on record")
            )
    if mode == ReplayMode.FAILED and state == State.DELIVERED:
        raise InvalidInput(("delivery_state", "must be failed or expired with the mode failed"))
    options = {
        "mode": mode,
        "match": body.get("match", Matching.THEN),
        "dry_run": body.get("dry_run", False),
        "state": state,
        "type": body.get("type"),
        "status": status and status[0],
    }
    return {**jobs.period_of(body).written(), **options, "asked": body}
