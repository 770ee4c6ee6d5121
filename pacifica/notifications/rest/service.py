"""What this process has of its own, made when the first request or entry point asks for it."""

import atexit
import threading
from collections.abc import Callable
from functools import cache, wraps
from typing import TypeVar

from pacifica.notifications.config import load_settings
from pacifica.notifications.networks import delivery_rules
from pacifica.notifications.nudges import Nudger
from pacifica.notifications.rest.limits import Rates
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.intake import Intake
from pacifica.notifications.store import events
from pacifica.notifications.tasks import nudge_dispatch
from pacifica.notifications.transport import Limits, Resolver, Transport

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
def intake() -> Intake:
    """Return what stores this process's events."""
    return Intake(
        events.record_all,
        most=settings().receive_group,
        most_bytes=settings().receive_group_bytes,
        patience=settings().receive_group_wait,
        longest=settings().statement_timeout,
    )


@_made_once
def nudger() -> Nudger:
    """Return what tells the workers of this process's events, also of the last ones at its end."""
    made = Nudger(
        nudge_dispatch,
        batch=settings().event_batch,
        gather=settings().publish_gather,
        most=settings().publish_waiting,
    )
    atexit.register(made.close, settings().publish_flush)
    return made


@_made_once
def rates() -> Rates:
    """Return what counts the requests that users send to this process."""
    return Rates(
        settings().eventmatch_rate, settings().eventmatch_burst, settings().eventmatch_rate_users
    )


@_made_once
def to_targets() -> Transport:
    """Return what asks targets whether they agree to be sent events."""
    return Transport(
        Limits(
            connect_timeout=settings().delivery_connect_timeout,
            total_timeout=settings().delivery_timeout,
            read_timeout=settings().delivery_read_timeout,
            response_bytes=settings().delivery_response_bytes,
        ),
        rules=delivery_rules(settings()),
    )


@_made_once
def lookups() -> Resolver:
    """Return what looks up the names of targets."""
    return Resolver(_LOOKUPS, delivery_rules(settings()))
