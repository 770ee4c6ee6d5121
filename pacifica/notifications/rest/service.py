"""What this process has of its own, made when the first request or entry point asks for it."""

import atexit
import threading
from collections.abc import Callable
from functools import cache, wraps
from typing import TypeVar

from pacifica.notifications.broker.nudges import Nudger
from pacifica.notifications.config import load_settings
from pacifica.notifications.rest.limits import Rates
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.group_commit import GroupCommit
from pacifica.notifications.store import events
from pacifica.notifications.subscriptions.networks import delivery_rules
from pacifica.notifications.tasks import nudge_dispatch
from pacifica.notifications.transport import Limits, Lookups, Transport

# Names that are looked up at once; for each, a thread of the web server waits.
_LOOKUPS = 3

R = TypeVar("R")


def _made_once(make: Callable[[], R]) -> Callable[[], R]:
    """Keep what the first call makes, also where several threads call at once."""
    kept, lock = cache(make), threading.Lock()

    @wraps(make)
    def made() -> R:
        with lock:
            return kept()

    return made


@cache
def settings() -> Settings:
    """Return the checked settings; raises ConfigError."""
    return load_settings()


@_made_once
def intake() -> GroupCommit:
    """Return what stores this process's events."""
    return GroupCommit(
        events.record_all,
        max_events=settings().receive.group,
        max_bytes=settings().receive.group_bytes,
        max_wait=settings().receive.group_wait,
        timeout=settings().database.statement_timeout,
    )


@_made_once
def nudger() -> Nudger:
    """Return what tells the workers of this process's events, also of the last ones at its end."""
    made = Nudger(
        nudge_dispatch,
        batch=settings().celery.event_batch,
        gather=settings().celery.publish_gather,
        most=settings().celery.publish_queue,
    )
    atexit.register(made.close, settings().celery.publish_flush)
    return made


@_made_once
def rates() -> Rates:
    """Return what counts the requests that users send to this process."""
    return Rates(
        settings().eventmatch.rate, settings().eventmatch.burst, settings().eventmatch.rate_users
    )


@_made_once
def to_targets() -> Transport:
    """Return what asks targets whether they agree to be sent events."""
    return Transport(
        Limits(
            connect_timeout=settings().delivery.connect_timeout,
            total_timeout=settings().delivery.timeout,
            read_timeout=settings().delivery.read_timeout,
            response_bytes=settings().delivery.response_bytes,
        ),
        rules=delivery_rules(settings()),
    )


@_made_once
def lookups() -> Lookups:
    """Return what looks up the names of targets."""
    return Lookups(_LOOKUPS, delivery_rules(settings()))
