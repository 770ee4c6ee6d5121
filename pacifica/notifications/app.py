"""The one object that owns what a process of the service has: settings, database, broker, HTTP."""

from typing import Self

from pacifica.notifications.broker.nudges import Nudger
from pacifica.notifications.broker.publisher import Publisher, broker_settings
from pacifica.notifications.broker.settings import require_known
from pacifica.notifications.config import load_settings
from pacifica.notifications.orm import DB, OrmSync, check_safe, open_database
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.group_commit import GroupCommit
from pacifica.notifications.stages.pipeline import Pipeline
from pacifica.notifications.store import events
from pacifica.notifications.subscriptions import delivery_rules
from pacifica.notifications.transport import Limits, Transport

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
        self.publisher = Publisher(settings.celery, settings.delivery.batch)
        self.nudger = Nudger(
            self.publisher.nudge_dispatch,
            batch=settings.celery.event_batch,
            gather=settings.celery.publish_gather,
            max_waiting=settings.celery.publish_queue,
        )
        self.group_commit = GroupCommit(
            events.record_all,
            max_events=settings.receive.group,
            max_bytes=settings.receive.group_bytes,
            max_wait=settings.receive.group_wait,
            timeout=settings.database.statement_timeout,
        )
        self.to_policy = _policy_transport(settings)
        self.to_targets = _target_transport(settings)
        self.pipeline = Pipeline(
            settings, self.to_policy, self.to_targets, self.publisher.nudge_dispatch
        )
        DB.bind(open_database(settings.database, settings.security))

    @classmethod
    def configured(cls) -> Self:
        """Build one from the configuration; raises ConfigError."""
        return cls(load_settings())

    def open(self) -> None:
        """Wait for the database and check its schema.

        Raises StoreUnavailable or SchemaMismatch.
        """
        OrmSync.dbconn_blocking()
        check_safe()

    def close(self) -> None:
        """Finish what is under way, each part within its bound, and close all connections."""
        self.nudger.close(self.settings.celery.publish_flush)
        self.to_policy.close()
        self.to_targets.close(self.settings.delivery.timeout)
        self.pipeline.close()
        DB.unbind()


def _policy_transport(settings: Settings) -> Transport:
    return Transport(
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


def _target_transport(settings: Settings) -> Transport:
    return Transport(
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
