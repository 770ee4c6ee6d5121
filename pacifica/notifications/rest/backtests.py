"""`/backtests`: what a JSONPath would have matched in a period."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Final
from uuid import UUID

from pacifica.notifications.errors import ExpressionError, InvalidInput, PolicyUnavailable
from pacifica.notifications.matching import compile_jsonpath
from pacifica.notifications.rest import jobs, paging
from pacifica.notifications.rest.access import not_found
from pacifica.notifications.rest.admission import get_remote_user, require_proxy
from pacifica.notifications.rest.context import KEY, Context, context
from pacifica.notifications.rest.deliveries import event_shown
from pacifica.notifications.rest.errors import ApiError, answering_errors, encode_text
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.stages.backtest import (
    BacktestProgress,
    BacktestRequest,
    Counts,
    Example,
)
from pacifica.notifications.store import subscriptions
from pacifica.notifications.store.jobs import (
    JobKind,
    NewJob,
    StoredJob,
    cancel,
    job_of,
    page_of_jobs,
)
from pacifica.notifications.store.walking import described
from pacifica.notifications.validation import Schema

_METHODS = {1: ("GET", "HEAD", "POST"), 2: ("DELETE", "GET", "HEAD")}
BACKTEST_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "jsonpath": {"type": "string", "minLength": 1},
        "subscription": {"type": "string", "format": "uuid"},
        "from": jobs.MOMENT,
        "to": {**jobs.MOMENT, "type": ["string", "null"]},
    },
    "required": ["from"],
    "additionalProperties": False,
}
_BODY = Schema(BACKTEST_SCHEMA)


class Backtests:
    """Begin, read, list and cancel the backtests of a caller."""

    exposed = True

    def __init__(self, shared: Context | None = None) -> None:
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.on_start_resource": require_proxy,
            "hooks.before_handler": partial(require_known, _METHODS, paging.PARAMETERS),
        }

    @answering_errors
    def GET(self, backtest: str | None = None) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return a backtest with examples, or a page of backtests, newest first."""
        user = get_remote_user()
        if backtest is None:
            return encode_text(page_of(user, paging.query()))
        return encode_text(shown(found(user, uuid_of(backtest))))

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802
        """Begin a backtest."""
        user = get_remote_user()
        job = begin(user, jobs.body_of(_BODY))
        return jobs.accepted(shown(job), f"/backtests/{job.uuid}")

    @answering_errors
    def DELETE(self, backtest: str) -> bytes:  # noqa: N802
        """Cancel a backtest, if it runs, and return it."""
        return encode_text(shown(cancel(found(get_remote_user(), uuid_of(backtest)))))


def page_of(user: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of a user's backtests, newest first; raises InvalidInput."""
    return jobs.page_of(partial(_page, user), _summary, parameters)


def check(body: dict[str, Any]) -> None:
    """Raise InvalidInput for a body that does not keep the schema."""
    _BODY.check(body)


def begin(user: str, body: dict[str, Any]) -> StoredJob:
    """Begin a backtest; `body` keeps BACKTEST_SCHEMA. Raises InvalidInput and JobConflict."""
    subscription = _uuid_in(body)
    request = _request(user, body, subscription)
    return jobs.begin(NewJob(JobKind.BACKTEST, user, request, subscription))


def found(user: str, uuid: UUID) -> StoredJob:
    """Return a user's backtest; refuse (403) any other."""
    job = job_of(user, JobKind.BACKTEST, uuid)
    if job is None:
        raise not_found()
    return job


def shown(job: StoredJob) -> dict[str, Any]:
    """Return a backtest with those of its examples that its user may see now."""
    progress = BacktestProgress.read(job.progress)
    newest = progress.examples[::-1]
    try:
        may_see = context().app.visibility.allowed(job.user, [each.event for each in newest])
        withheld = False
    except PolicyUnavailable:
        may_see, withheld = set(), True
    examples = _examples([each for each in newest if each.event in may_see])
    return {**_summary(job), "examples": examples, "withheld": withheld}


def _summary(job: StoredJob) -> dict[str, Any]:
    request, progress = BacktestRequest.read(job.request), BacktestProgress.read(job.progress)
    where = jobs.state_shown(
        job, request.period, progress.position, progress.stopped, progress.waits_for
    )
    return {
        **where,
        "jsonpath": request.jsonpath,
        "subscription": None if job.subscription is None else str(job.subscription),
        **_counts(request, progress.total),
        "days": [
            {"day": day, **_counts(request, counts)}
            for day, counts in sorted(progress.days.items())
        ],
    }


def _counts(request: BacktestRequest, counts: Counts) -> dict[str, int | None]:
    compared = request.stored is not None
    return {
        "matched": counts.matched,
        "gained": counts.gained if compared else None,
        "lost": counts.lost if compared else None,
        "errors": counts.failed,
    }


def _examples(examples: Sequence[Example]) -> list[dict[str, Any]]:
    about = described([each.event for each in examples])
    return [
        {
            **event_shown(each.event, *about[each.event]),
            **{name: bool(count) for name, count in _of_example(each.counts).items()},
        }
        for each in examples
        if each.event in about  # others were purged
    ]


def _of_example(counts: Counts) -> dict[str, int]:
    return {
        ("error" if name == "failed" else name): count for name, count in asdict(counts).items()
    }


def _page(user: str, wanted: paging.PageRequest) -> Any:
    return page_of_jobs(
        user,
        JobKind.BACKTEST,
        wanted.limit,
        wanted.after,
        start=wanted.start,
        end=wanted.end,
    )


def _uuid_in(body: dict[str, Any]) -> UUID | None:
    """Return the subscription that a body names; raises InvalidInput."""
    if "subscription" not in body:
        return None
    try:
        return uuid_of(body["subscription"])
    except ApiError as error:
        raise InvalidInput(("subscription", "must be a UUID")) from error


def _request(user: str, body: dict[str, Any], subscription: UUID | None) -> dict[str, Any]:
    """Return a job's request for a body; raises InvalidInput."""
    period = jobs.period_of(body)
    jsonpath, stored = body.get("jsonpath"), None
    if subscription is not None:
        owned = subscriptions.one_of_user(user, subscription)
        if owned is None:
            raise not_found()
        stored = str(owned["jsonpath"])
        _require_parsed(stored, "subscription")
    if jsonpath is not None:
        _require_parsed(jsonpath, "jsonpath")
    elif stored is None:
        raise InvalidInput(("jsonpath", "is required without a subscription"))
    tested, compared = (jsonpath, stored) if jsonpath is not None else (stored, None)
    return {
        **period.written(),
        "jsonpath": tested,
        "stored": compared,
    }


def _require_parsed(jsonpath: str, field: str) -> None:
    try:
        with context().traces.held():
            compile_jsonpath(jsonpath, context().settings.eventmatch.jsonpath_max_length)
    except ExpressionError as error:
        raise InvalidInput((field, str(error))) from error
