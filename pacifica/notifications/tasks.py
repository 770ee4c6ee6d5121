"""The Celery side: one task for each stage of an event's way, and the sweep.

The database is the truth and a message is a nudge: it carries ids, never content. One that is lost,
late or doubled costs time and no event, because the sweep finds whatever is due.
"""

import logging
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial, wraps
from typing import Any
from uuid import UUID

from celery import Celery, bootsteps
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)

from pacifica.notifications import systemd
from pacifica.notifications.app import App
from pacifica.notifications.broker.liveness import Liveness
from pacifica.notifications.broker.publisher import broker_settings
from pacifica.notifications.broker.settings import celery_settings
from pacifica.notifications.broker.workerlog import BrokerOutageFilter
from pacifica.notifications.delivery import authorization
from pacifica.notifications.errors import ConfigError, NotificationsError, StoreUnavailable
from pacifica.notifications.jsonlog import use_json
from pacifica.notifications.metrics import SWEEPS
from pacifica.notifications.orm import DB
from pacifica.notifications.stages.mail import MAX_PERIOD
from pacifica.notifications.store import (
    agreements,
    deduplication,
    expiring,
    holding,
    mailing,
    notices,
)
from pacifica.notifications.store.claims import recall, take_lock
from pacifica.notifications.store.deferred import expire_parked
from pacifica.notifications.store.deliveries import due_allowed, due_matched
from pacifica.notifications.store.events import due_events, suspect_events
from pacifica.notifications.store.statistics import forget_dead_workers, note_bounds
from pacifica.notifications.transport import raise_file_limit

_LOG = logging.getLogger(__name__)
_USAGE_ERROR = 2
# The least seconds between two messages of a process about events that wait for Metadata.
_SETTLE_PAUSE = 0.01


class _CeleryApp(Celery):
    """Celery's application, with the App of its process.

    The App is built when it is first needed, so that importing this module reads nothing.
    """

    control_cls = "pacifica.notifications.broker.naming:Control"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._lock = threading.Lock()
        self._service: App | None = None

    @property
    def service(self) -> App:
        """The App of this process; ends the program in one line where it cannot be built."""
        with self._lock:
            if self._service is None:
                try:
                    self._service = App.configured()
                except ConfigError as error:
                    print(error, file=sys.stderr)  # noqa: T201 no log is set up yet
                    raise SystemExit(_USAGE_ERROR) from error
            return self._service

    def close_service(self) -> None:
        """Close the App, if there is one; the next use builds another."""
        with self._lock:
            service, self._service = self._service, None
        if service is not None:
            service.close()


# Neither `app` nor `celery`: those names are what `celery -A` looks for first.
CELERY_APP = _CeleryApp("pacifica.notifications")
CELERY_APP.add_defaults(
    lambda: celery_settings(broker_settings(CELERY_APP.service.settings.celery))
)


def _stage(function: Callable[..., None]) -> Any:
    """Make a task of a stage; what an outage leaves undone is due again by itself."""

    @wraps(function)
    def run(*arguments: Any, **named: Any) -> None:
        try:
            function(*arguments, **named)
        except StoreUnavailable:
            _LOG.debug("%s: what is left is tried again", function.__name__, exc_info=True)
        except NotificationsError as error:
            _LOG.warning("%s: %s; what is left is tried again", function.__name__, error)

    return CELERY_APP.task(run, name=f"{__name__}.{function.__name__}")


@_stage
def dispatch_event(events: list[str], alone: bool = False) -> None:
    """Match events against the subscriptions, ask Policy who may see them, and send them.

    Takes ids of events that are due. Unless one is to be dispatched `alone`, every event that is
    due is taken, so that one message does the work of those behind it.
    """
    service = CELERY_APP.service
    if alone:
        for event in _uuids(events):
            service.publisher.nudge_delivery(service.pipeline.dispatch(event))
    else:
        service.publisher.nudge_delivery(service.pipeline.dispatch())
    if service.pipeline.has_deferred and service.pipeline.deferred.begins():
        service.publisher.nudge_deferred()


@_stage
def settle_events() -> None:
    """Ask Metadata about events that wait for it, and dispatch those that it shows."""
    service = CELERY_APP.service
    going_on = service.settler.settle()
    if going_on:
        # Only a batch is dispatched here; the message is for the others.
        service.publisher.nudge_delivery(service.pipeline.dispatch())
        service.publisher.nudge_dispatch(going_on[service.settings.celery.event_batch :])
    _nudge_settling(service)


@_stage
def match_deferred() -> None:
    """Match events for a moment with what takes long; leave the rest to the next such message."""
    service = CELERY_APP.service
    if service.pipeline.match_deferred():
        service.publisher.nudge_deferred()


@_stage
def go_on_with_jobs(turn: str = "") -> None:
    """Go on with one job for a moment; leave the rest to the next such message.

    `turn` is until when the sender held the lock, which is passed on; empty: it is to be taken.
    """
    service = CELERY_APP.service
    held = datetime.fromisoformat(turn) if turn else service.jobs.begins()
    following = None if held is None else service.jobs.go_on(held)
    if following is not None:
        service.publisher.nudge_jobs(following.turn.isoformat(), following.wait)


@_stage
def query_policy(events: list[str]) -> None:
    """Ask Policy again who may see matched events, and send them; takes ids of events."""
    pipeline = CELERY_APP.service.pipeline
    pipeline.deliverer.deliver(pipeline.authoriser.authorise(_uuids(events)))


@_stage
def route_event(deliveries: list[str]) -> None:
    """Send allowed deliveries to their targets; takes ids of deliveries."""
    CELERY_APP.service.pipeline.deliverer.deliver(_uuids(deliveries))


@_stage
def send_mails() -> None:
    """Have threads of this process mail what is due; do not wait for them."""
    CELERY_APP.service.mailer.wake()


@_stage
def sweep() -> None:
    """Nudge whatever is due and has no worker: retries, lost messages, what killed workers left."""
    service = CELERY_APP.service
    settings, publisher = service.settings, service.publisher
    limit = settings.celery.sweep_limit
    if not take_lock("sweep", settings.celery.sweep_interval / 2):
        return
    service.tallies.add(SWEEPS)
    if take_lock("bound holding", settings.holding.check_interval):
        expired = expiring.expire(settings.holding.max_held, settings.holding.max_age)
        if expired:
            _LOG.warning("%d held deliveries expired: too old, or too many", expired)
        forgotten = expire_parked(settings.holding.max_age)
        if forgotten:
            _LOG.warning("%d events are no longer matched: too old, or too many", forgotten)
        recalled = recall(settings.max_wait, settings.settle.unsettled_interval)
        if recalled:
            _LOG.warning("%d events and deliveries are due: the clock was put back", recalled)
    if settings.receive.deduplicate:
        deduplication.forget(settings.receive.deduplicate, limit)
    for subscription in holding.due_held(limit):
        holding.release_or_probe(subscription, settings.holding.release_batch, settings.recovery)
    _look_after_mails(service)
    if service.pipeline.deferred.begins():
        publisher.nudge_deferred()
    if not settings.settle.is_on:
        service.settler.stop(limit)
    publisher.nudge_dispatch(due_events(limit))
    for event in suspect_events(limit):
        publisher.nudge_dispatch_alone(event)
    if settings.settle.is_on:
        _nudge_settling(service)
    publisher.nudge_policy(due_matched(limit))
    publisher.nudge_delivery(due_allowed(limit))
    if (turn := service.jobs.begins()) is not None:
        publisher.nudge_jobs(turn.isoformat())
    # Last, because nobody waits for it.
    service.retention.purge_some()
    if take_lock("note bounds", settings.holding.check_interval):
        service.jobs.forget_some()
        dead = forget_dead_workers()
        if dead:
            _LOG.warning("%d worker processes no longer say that they live", dead)
        note_bounds(settings.holding)


def _look_after_mails(service: App) -> None:
    """Tell owners what is due, and have mailed what is."""
    settings, publisher = service.settings, service.publisher
    if take_lock("look after mails", settings.holding.check_interval):
        mailing.schedule_forgotten()
        mailing.forget_counts(MAX_PERIOD)
        agreements.forget_unanswered(settings.holding.max_age)
        notices.note_expiring(settings.holding.max_age)
    publisher.nudge_dispatch(notices.tell_due(mail=settings.mail.is_on))
    if service.mailer.is_due():
        publisher.nudge_mails()


def _nudge_settling(service: App) -> None:
    """Have events looked at that wait for Metadata, unless the next sweep comes before."""
    seconds = service.settler.seconds_to_next()
    if seconds is not None and seconds < service.settings.celery.sweep_interval:
        service.publisher.nudge_settling(max(seconds, _SETTLE_PAUSE))


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


class _Sweeps(bootsteps.StartStopStep):
    """Has the worker send itself a sweep every few seconds; a lease lets one of them through."""

    requires = frozenset({"celery.worker.components:Timer"})

    def __init__(self, parent: Any, **options: Any) -> None:
        self._entry: Any = None
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        service = CELERY_APP.service
        interval = service.settings.celery.sweep_interval
        self._entry = parent.timer.call_repeatedly(interval, partial(self._tick, service))
        if not parent.pool_cls.__module__.endswith("prefork"):  # this process does the work
            service.reporter.start_worker(parent.hostname)

    def stop(self, _parent: Any) -> None:
        if self._entry is not None:
            self._entry.cancel()

    @staticmethod
    def _tick(service: App) -> None:
        service.publisher.nudge_sweep()
        # That the broker has failed; this process counts nothing else.
        service.reporter.keep_reporting(threaded=False)


CELERY_APP.steps["worker"].add(_Sweeps)
CELERY_APP.steps["consumer"].add(Liveness)


@worker_init.connect
def _refuse_unsafe_database(**_signal: Any) -> None:
    """End a worker that starts on a database which this code cannot work on."""
    try:
        CELERY_APP.service.open()
    except NotificationsError as error:
        raise SystemExit(str(error)) from error
    DB.close()  # this process only watches over those that it forks


@worker_init.connect
def _raise_file_limit(**_signal: Any) -> None:
    """Let the worker's processes, which are forked later, open as many files as they may need."""
    raise_file_limit(CELERY_APP.service.settings.delivery.connections)


@worker_process_init.connect
def _say_that_it_lives(sender: str, **_signal: Any) -> None:
    """Have a worker process, which was just forked, say that it lives."""
    CELERY_APP.service.reporter.start_worker(sender)


@after_setup_logger.connect
@after_setup_task_logger.connect
def _use_json(logger: logging.Logger, **_signal: Any) -> None:
    if CELERY_APP.service.settings.logging.json:
        use_json(logger)


@after_setup_logger.connect
def _quieten(**_signal: Any) -> None:
    """Leave two lines a message out of the log: what became of each delivery is on record."""
    for chatty in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    told = BrokerOutageFilter(CELERY_APP.service.publisher.outage)
    for connecting in ("celery.worker.consumer.consumer", "celery.worker.consumer.connection"):
        logging.getLogger(connecting).addFilter(told)


@worker_ready.connect
def _tell_ready(**_signal: Any) -> None:
    systemd.notify("READY=1")


@worker_shutting_down.connect
def _tell_stopping(**_signal: Any) -> None:
    systemd.notify("STOPPING=1")


@worker_process_shutdown.connect
@worker_shutdown.connect
def _close_service(**_signal: Any) -> None:
    """Let a worker process that ends record what is in flight."""
    CELERY_APP.close_service()


def _uuids(texts: Sequence[str]) -> list[UUID]:
    return [UUID(text) for text in texts]
