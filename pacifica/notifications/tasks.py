"""The Celery side: one task for each stage, and the messages that tell a worker to look now.

The database is the truth and a message is a nudge: it carries ids, never content. One that is lost,
late or doubled costs time and no event, because the sweep finds whatever is due.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any
from uuid import UUID

from celery import Celery, bootsteps
from celery.signals import (
    after_setup_logger,
    worker_init,
    worker_process_shutdown,
    worker_shutdown,
)

from pacifica.notifications.broker.settings import BrokerSettings, celery_settings
from pacifica.notifications.config import load_settings
from pacifica.notifications.delivery.request import authorization
from pacifica.notifications.errors import ConfigError, NotificationsError
from pacifica.notifications.orm import DB, OrmSync, check_safe
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.pipeline import Pipeline
from pacifica.notifications.store import holding, identities
from pacifica.notifications.store.deliveries import due_allowed, due_matched
from pacifica.notifications.store.events import due_events, suspect_events
from pacifica.notifications.store.leases import take_lease
from pacifica.notifications.store.recovery import due_held, hand_on_held

_LOG = logging.getLogger(__name__)
_MISTAKE = 2
_SWEEP_EXPIRES = 60.0

# Neither `app` nor `celery`: those names are what `celery -A` looks for first.
CELERY_APP = Celery("pacifica.notifications")
CELERY_APP.add_defaults(lambda: _celery_settings())


def _stage(function: Callable[..., None]) -> Any:
    """Make a task of a stage; what an outage leaves undone is due again by itself."""

    @wraps(function)
    def run(*arguments: Any) -> None:
        try:
            function(*arguments)
        except NotificationsError as error:
            _LOG.warning("%s: %s; what is left is tried again", function.__name__, error)

    return CELERY_APP.task(run, name=f"{__name__}.{function.__name__}")


@_stage
def dispatch_event(events: list[str], alone: bool = False) -> None:
    """Match events against the subscriptions, ask Policy who may see them, and send them.

    Takes ids of events that are due. Unless one is to be taken `alone`, whatever is due is taken,
    so that one message does the work of those behind it.
    """
    if alone:
        for event in _uuids(events):
            nudge_delivery(_KEPT.pipeline().dispatch(event))
    else:
        nudge_delivery(_KEPT.pipeline().dispatch())


@_stage
def query_policy(events: list[str]) -> None:
    """Ask Policy again who may see matched events, and send them; takes ids of events."""
    allowed = _KEPT.pipeline().authoriser.authorise(_uuids(events))
    _KEPT.pipeline().deliverer.deliver(allowed)


@_stage
def route_event(deliveries: list[str]) -> None:
    """Send allowed deliveries to their targets; takes ids of deliveries."""
    _KEPT.pipeline().deliverer.deliver(_uuids(deliveries))


@_stage
def sweep() -> None:
    """Nudge whatever is due and has no worker: retries, lost messages, what killed workers left."""
    settings = _settings()
    if take_lease("sweep", settings.celery.sweep_interval / 2):
        _bound_holding(settings)
        if settings.receive.deduplicate:
            identities.forget(settings.receive.deduplicate, settings.celery.sweep_limit)
        for subscription in due_held(settings.celery.sweep_limit):
            hand_on_held(subscription, settings)
        nudge_dispatch(due_events(settings.celery.sweep_limit))
        for event in suspect_events(settings.celery.sweep_limit):
            _BROKER.publish(dispatch_event, [str(event)], alone=True)
        nudge_policy(due_matched(settings.celery.sweep_limit))
        nudge_delivery(due_allowed(settings.celery.sweep_limit))


def _bound_holding(settings: Settings) -> None:
    if take_lease("bound holding", settings.holding.check_interval):
        expired = holding.expire(settings.holding.max_held, settings.holding.max_age)
        if expired:
            _LOG.warning("%d held deliveries expired: too old, or too many", expired)


def nudge_dispatch(events: Sequence[UUID]) -> None:
    """Tell a worker to dispatch events; never raises, since the sweep makes good a failure."""
    _nudge(dispatch_event, events, _settings().celery.event_batch)


def nudge_policy(events: Sequence[UUID]) -> None:
    """Tell a worker to ask Policy about events; never raises."""
    _nudge(query_policy, events, _settings().celery.event_batch)


def nudge_delivery(deliveries: Sequence[UUID]) -> None:
    """Tell a worker to send deliveries; never raises."""
    _nudge(route_event, deliveries, _settings().delivery.batch)


def disable_eventmatch(eventmatch_uuid: UUID | str, error: str) -> None:
    """Disable a subscription with its error; what matches from now on is held for it."""
    holding.disable(UUID(str(eventmatch_uuid)), error)


def event_auth_to_requests(
    eventmatch: dict[str, Any], headers: dict[str, str]
) -> dict[str, tuple[str, str]]:
    """Return keyword arguments for `requests` that carry a subscription's `auth`.

    `eventmatch` is a subscription as `to_hash` gives it. Basic credentials are returned as `auth`;
    a header is added to `headers`, which is changed in place. Signatures, which are of a body, are
    neither.
    """
    auth = eventmatch.get("auth") or {}
    if auth.get("type") == "basic":
        return {"auth": (auth["basic"]["username"], auth["basic"]["password"])}
    headers.update(authorization(auth))
    return {}


class _Broker:
    """Hands messages over within a bound; after a failure, leaves the broker alone for a while."""

    def __init__(self) -> None:
        self._rests_until = 0.0

    def publish(self, task: Any, *arguments: Any, **options: Any) -> None:
        """Hand over one message, or log why not; the sweep makes good what is not handed over."""
        if time.monotonic() < self._rests_until:
            return
        try:
            task.apply_async(arguments, ignore_result=True, retry=False, **options)
        except Exception as error:  # noqa: BLE001 an edge: kombu's transports raise what they like
            self._rests_until = time.monotonic() + _settings().celery.publish_pause
            _LOG.warning("no message could be handed to the broker (%s)", type(error).__name__)


_BROKER = _Broker()


def _nudge(task: Any, uuids: Sequence[UUID], batch: int) -> None:
    for start in range(0, len(uuids), batch):
        _BROKER.publish(task, [str(uuid) for uuid in uuids[start : start + batch]])


class _Sweeps(bootsteps.StartStopStep):
    """Has the worker send itself a sweep every few seconds; a lease lets one of them through."""

    requires = frozenset({"celery.worker.components:Timer"})

    def __init__(self, parent: Any, **options: Any) -> None:
        self._entry: Any = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        self._entry = parent.timer.call_repeatedly(
            _settings().celery.sweep_interval,
            _BROKER.publish,
            (sweep,),
            {"expires": _SWEEP_EXPIRES},
        )

    def stop(self, _parent: Any) -> None:
        if self._entry is not None:
            self._entry.cancel()


CELERY_APP.steps["worker"].add(_Sweeps)


@worker_init.connect
def _refuse_unsafe_database(**_signal: Any) -> None:
    """End a worker that starts on a database which this code cannot work on."""
    try:
        OrmSync.dbconn_blocking()
        check_safe()
    except NotificationsError as error:
        raise SystemExit(str(error)) from error
    DB.unbind()  # the processes that the worker forks have connections of their own


def _celery_settings() -> dict[str, Any]:
    """Return what Celery asks for when it starts, or end it with one line."""
    try:
        celery = _settings().celery
        return celery_settings(
            BrokerSettings(
                broker_url=celery.broker_url,
                backend_url=celery.backend_url,
                publish_timeout=celery.publish_timeout,
                visibility_timeout=celery.lease,
            )
        )
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 nothing is set up to log yet
        raise SystemExit(_MISTAKE) from error


@after_setup_logger.connect
def _quieten(**_signal: Any) -> None:
    """Leave two lines a message out of the log: what became of each delivery is on record."""
    for chatty in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@worker_process_shutdown.connect
@worker_shutdown.connect
def _close_pipeline(**_signal: Any) -> None:
    """Let a worker process that ends record what is in flight."""
    _KEPT.close()


@cache
def _settings() -> Settings:
    """Return the settings of this process, read when they are first needed."""
    return load_settings()


class _Kept:
    """What this process keeps between tasks; made by its first task, and so after any fork."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None

    def pipeline(self) -> Pipeline:
        with self._lock:
            self._pipeline = self._pipeline or Pipeline(_settings())
            return self._pipeline

    def close(self) -> None:
        with self._lock:
            pipeline, self._pipeline = self._pipeline, None
        if pipeline is not None:
            pipeline.close()


_KEPT = _Kept()


def _uuids(texts: Sequence[str]) -> list[UUID]:
    return [UUID(text) for text in texts]
