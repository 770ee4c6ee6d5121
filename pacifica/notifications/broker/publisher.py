"""Sends nudges: messages that tell a worker to look at the database now.

A nudge carries ids and no content. A lost nudge delays its events, but the sweep still finds
everything that is due.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from celery import Celery

from pacifica.notifications.broker.settings import BrokerSettings, celery_settings
from pacifica.notifications.outages import Outage, cause_of
from pacifica.notifications.settings import CelerySettings

_LOG = logging.getLogger(__name__)
_TASKS = "pacifica.notifications.tasks"
# Seconds after which a sweep that no worker has taken expires: the next one does its work.
_SWEEP_EXPIRES = 60.0
# Seconds after which a message about deferred events is void: its sender's lock has then expired,
# and the next sweep begins anew. Two would otherwise follow each other for ever.
_DEFERRED_EXPIRES = 20.0
# Seconds after which a message about jobs is void: its sender's lock has then expired.
_JOBS_EXPIRES = 5.0
# A worker without an event loop holds a message back for up to two seconds, however short its wait.
# It looks for messages only every 0.05 s anyway, which is rest enough.
_POLLED = "filesystem:"
_MIN_POLLED_WAIT = 0.5


class Publisher:
    """Sends nudges within a time-out, and never raises.

    After a failure, nothing is sent for `publish_pause` seconds. Connections to the broker are
    opened when they are needed. One message names up to `delivery_batch` deliveries. `failed` is
    called after each failure.
    """

    def __init__(
        self, settings: CelerySettings, delivery_batch: int, failed: Callable[[], None]
    ) -> None:
        self._failed = failed
        self._pause = settings.publish_pause
        self._event_batch = settings.event_batch
        self._delivery_batch = delivery_batch
        self._is_polled = settings.broker_url.startswith(_POLLED)
        self._paused_until = 0.0
        self._settles_at = 0.0
        self.outage = Outage(_LOG, "the broker")
        self._celery = Celery("pacifica.notifications", set_as_current=False)
        self._celery.add_defaults(lambda: celery_settings(broker_settings(settings)))

    def nudge_dispatch(self, events: Sequence[UUID]) -> None:
        """Tell workers to dispatch events."""
        self._nudge("dispatch_event", events, self._event_batch)

    def nudge_dispatch_alone(self, event: UUID) -> None:
        """Tell a worker to dispatch one event on its own."""
        self._send("dispatch_event", [str(event)], alone=True)

    def nudge_policy(self, events: Sequence[UUID]) -> None:
        """Tell workers to ask Policy about events."""
        self._nudge("query_policy", events, self._event_batch)

    def nudge_delivery(self, deliveries: Sequence[UUID]) -> None:
        """Tell workers to send deliveries."""
        self._nudge("route_event", deliveries, self._delivery_batch)

    def nudge_deferred(self) -> None:
        """Tell a worker to match deferred events."""
        self._send("match_deferred", expires=_DEFERRED_EXPIRES)

    def nudge_jobs(self, turn: str = "", wait: float = 0.0) -> None:
        """Tell a worker to go on with jobs in `wait` seconds.

        `turn` is until when the lock is held that is passed on; empty: it is to be taken.
        """
        least = _MIN_POLLED_WAIT if self._is_polled else 0.0
        self._send(
            "go_on_with_jobs", turn, expires=_JOBS_EXPIRES, wait=wait if wait > least else 0.0
        )

    def nudge_settling(self, seconds: float) -> None:
        """Tell a worker to look at events that wait for Metadata, in some seconds.

        None is sent if one that was sent before comes no later. It is a hint: a worker keeps it in
        its memory until then.
        """
        now = time.monotonic()
        if now < self._settles_at <= now + seconds:
            return
        self._settles_at = now + seconds
        self._send("settle_events", expires=seconds + _SWEEP_EXPIRES, wait=seconds)

    def nudge_mails(self) -> None:
        """Tell a worker that something may be due to be mailed."""
        self._send("send_mails", expires=_SWEEP_EXPIRES)

    def nudge_sweep(self) -> None:
        """Tell a worker to sweep."""
        self._send("sweep", expires=_SWEEP_EXPIRES)

    def is_reachable(self) -> bool:
        """Return whether the broker takes a new connection, within its time-out; never raise."""
        try:
            with self._celery.connection_for_write() as connection:
                connection.connect()
        except Exception:  # noqa: BLE001 an edge: kombu's transports may raise anything
            return False
        return True

    def _nudge(self, task: str, uuids: Sequence[UUID], batch: int) -> None:
        for start in range(0, len(uuids), batch):
            self._send(task, [str(uuid) for uuid in uuids[start : start + batch]])

    def _send(
        self,
        task: str,
        *arguments: Any,
        expires: float | None = None,
        wait: float = 0.0,
        **named: Any,
    ) -> None:
        if time.monotonic() < self._paused_until:
            return
        try:
            self._celery.send_task(
                f"{_TASKS}.{task}",
                arguments,
                named,
                expires=expires,
                countdown=wait or None,
                ignore_result=True,
                add_to_parent=False,
                retry=False,
            )
        except Exception as error:  # noqa: BLE001 an edge: kombu's transports may raise anything
            self._paused_until = time.monotonic() + self._pause
            self._failed()
            self.outage.failed(cause_of(error))
        else:
            self.outage.worked()


def broker_settings(settings: CelerySettings) -> BrokerSettings:
    """Return the service's broker, result backend and time-outs from its settings."""
    return BrokerSettings(
        broker_url=settings.broker_url,
        backend_url=settings.backend_url,
        publish_timeout=settings.publish_timeout,
        visibility_timeout=settings.lease,
    )
