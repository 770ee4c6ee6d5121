"""The one object that owns what a process of the service has: settings, database, broker, HTTP."""

from functools import partial
from typing import Self

from pacifica.notifications.broker.nudges import Nudger
from pacifica.notifications.broker.publisher import Publisher, broker_settings
from pacifica.notifications.broker.settings import require_known
from pacifica.notifications.config import load_settings
from pacifica.notifications.metrics import (
    ATTEMPTS,
    BROKER_FAILURES,
    POLICY_QUESTIONS,
    Tallies,
)
from pacifica.notifications.orm import (
    DB,
    OrmSync,
    check_safe,
    open_database,
    require_database,
)
from pacifica.notifications.policy import verdict
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.group_commit import GroupCommit
from pacifica.notifications.stages.jobs import JobRunner
from pacifica.notifications.stages.mail import Mailer
from pacifica.notifications.stages.owners import Owners
from pacifica.notifications.stages.pipeline import Pipeline
from pacifica.notifications.stages.report import Reporter
from pacifica.notifications.stages.retention import Retention
from pacifica.notifications.stages.settle import Settler
from pacifica.notifications.stages.visibility import Visibility
from pacifica.notifications.store import events
from pacifica.notifications.subscriptions import delivery_rules
from pacifica.notifications.transport import (
    Limits,
    ObservedTransport,
    Observer,
    Request,
    Response,
    SendFailure,
    SendResult,
    Transport,
)

# Policy is one host, which may have a quarter of them: more than one batch ever asks.
_POLICY_QUEUE = 40_000


class App:
    """What one process has, from its start to `close`.

    Every entry point builds one and passes its parts on. Building binds `DB`, which all tables
    share, and opens nothing: connections and threads start with their first use, and so after any
    fork.
    """

    def __init__(self, settings: Settings) -> None:
        """Raise ConfigError if the database's driver or the broker's library cannot be used."""
        self.settings = settings
        require_known(broker_settings(settings.celery))
        self.tallies = Tallies()
        self.reporter = Reporter(self.tallies)
        failed = partial(self.tallies.add, BROKER_FAILURES)
        self.publisher = Publisher(settings.celery, settings.delivery.batch, failed)
        self.nudger = Nudger(
            self.publisher.nudge_dispatch,
            batch=settings.celery.event_batch,
            gather=settings.celery.publish_gather,
            max_waiting=settings.celery.publish_queue,
        )
        self.settle_nudger = Nudger(
            lambda _ids: self.publisher.nudge_settling(settings.settle.first_wait),
            batch=settings.celery.event_batch,
            gather=settings.celery.publish_gather,
            max_waiting=settings.celery.publish_queue,
        )
        #: Seconds until Metadata is first asked about its events; None: they do not wait for it.
        self.settle_after = settings.settle.first_wait if settings.settle.is_on else None
        self.group_commit = GroupCommit(
            partial(events.record_all, settle_after=self.settle_after),
            max_events=settings.receive.group,
            max_bytes=settings.receive.group_bytes,
            max_wait=settings.receive.group_wait,
            timeout=settings.database.statement_timeout,
        )
        self.to_policy = _policy_transport(settings, self._asked)
        self.to_targets = _target_transport(settings, self._attempted)
        self.to_metadata = _metadata_transport(settings)
        self.visibility = Visibility(
            settings.notifications.policy_url, settings.policy, self.to_policy
        )
        self.owners = Owners(settings.settle, self.to_metadata)
        self.mailer = Mailer(settings, self.visibility, self.owners, self.tallies)
        self.pipeline = Pipeline(
            settings,
            self.to_policy,
            self.to_targets,
            self.publisher.nudge_dispatch,
            self.tallies,
            self.mailer.collect,
        )
        self.settler = Settler(settings.settle, settings.celery.event_batch_bytes, self.to_metadata)
        self.jobs = JobRunner(settings, self.visibility, self.publisher.nudge_policy)
        self.retention = Retention(settings.retention)
        DB.bind(open_database(settings.database, settings.security, self.tallies))

    @classmethod
    def configured(cls) -> Self:
        """Build one from the configuration; raises ConfigError."""
        return cls(load_settings())

    def open(self) -> None:
        """Wait for the database and check its schema; create none.

        Raises StoreUnavailable or SchemaMismatch.
        """
        require_database()
        OrmSync.dbconn_blocking()
        check_safe()

    def close(self) -> None:
        """Finish what is under way, each part within its bound, and close all connections."""
        self.nudger.close(self.settings.celery.publish_flush)
        self.settle_nudger.close(self.settings.celery.publish_flush)
        self.mailer.close()
        self.to_metadata.close()
        self.to_policy.close()
        self.to_targets.close(self.settings.delivery.timeout)
        self.pipeline.close()
        self.reporter.close()
        DB.unbind()

    def _asked(self, request: Request, result: SendResult) -> None:
        """Count a question to Policy about an event."""
        if request.method == "POST" and not _is_ours(result):
            self.tallies.observe(POLICY_QUESTIONS, result.seconds, verdict(result).name.lower())

    def _attempted(self, request: Request, result: SendResult) -> None:
        """Count a request to a target that carried an event."""
        if request.method != "POST" or _is_ours(result):
            return
        if isinstance(result, Response):
            status = f"{min(result.status // 100, 5)}xx"  # others count as 5xx (RFC 9110, 15)
        else:
            status = "refused" if result.refused else "none"
        self.tallies.observe(ATTEMPTS, result.seconds, status)


def _is_ours(result: SendResult) -> bool:
    """Tell whether a request failed here, so that nothing is known about the server."""
    return isinstance(result, SendFailure) and result.ours


def _policy_transport(settings: Settings, observer: Observer) -> Transport:
    return ObservedTransport(
        observer,
        Limits(
            connect_timeout=settings.policy.connect_timeout,
            total_timeout=settings.policy.timeout,
            read_timeout=settings.policy.read_timeout,
            response_bytes=settings.delivery.response_bytes,
            connections_per_host=min(
                settings.delivery.connections_per_subscription,
                settings.delivery.connections_per_host,
            ),
            queue=_POLICY_QUEUE,
        ),
        settings.policy.ca_file,
    )


def _metadata_transport(settings: Settings) -> Transport:
    return Transport(
        Limits(
            connect_timeout=settings.settle.timeout,
            total_timeout=settings.settle.timeout,
            read_timeout=settings.settle.timeout,
            response_bytes=settings.settle.response_bytes,
            connections_per_host=settings.settle.connections,
        ),
        settings.settle.ca_file,
    )


def _target_transport(settings: Settings, observer: Observer) -> Transport:
    return ObservedTransport(
        observer,
        Limits(
            connect_timeout=settings.delivery.connect_timeout,
            total_timeout=settings.delivery.timeout,
            read_timeout=settings.delivery.read_timeout,
            response_bytes=settings.delivery.response_bytes,
            connections_per_flow=settings.delivery.connections_per_subscription,
            connections_per_host=settings.delivery.connections_per_host,
            connections=settings.delivery.connections,
            queue=settings.delivery.unfinished,
        ),
        settings.delivery.ca_file,
        rules=delivery_rules(settings.delivery),
    )
