"""The stages as one worker process has them, with the connections they keep."""

from uuid import UUID

from pacifica.notifications.networks import delivery_rules
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.authorise import Authoriser
from pacifica.notifications.stages.deliver import Deliverer
from pacifica.notifications.stages.dispatch import Dispatcher
from pacifica.notifications.transport import Limits, Transport, raise_file_limit

# Policy is one host, which may have a quarter of them: more than one batch ever asks.
_POLICY_QUEUE = 40_000


class Pipeline:
    """Dispatch, authorise and deliver, until `close`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        raise_file_limit(settings.delivery_connections)
        self._to_policy = Transport(
            Limits(
                connect_timeout=settings.policy_connect_timeout,
                total_timeout=settings.policy_timeout,
                read_timeout=settings.policy_read_timeout,
                response_bytes=settings.delivery_response_bytes,
                connections_per_host=min(
                    settings.delivery_connections_per_subscription,
                    settings.delivery_connections_per_host,
                ),
                queue=_POLICY_QUEUE,
            )
        )
        self._to_targets = Transport(
            Limits(
                connect_timeout=settings.delivery_connect_timeout,
                total_timeout=settings.delivery_timeout,
                read_timeout=settings.delivery_read_timeout,
                response_bytes=settings.delivery_response_bytes,
                connections_per_flow=settings.delivery_connections_per_subscription,
                connections_per_host=settings.delivery_connections_per_host,
                connections=settings.delivery_connections,
                queue=settings.delivery_unfinished,
            ),
            rules=delivery_rules(settings),
        )
        self.dispatcher = Dispatcher(settings)
        self.authoriser = Authoriser(settings, self._to_policy)
        self.deliverer = Deliverer(settings, self._to_targets)

    def dispatch(self, alone: UUID | None = None) -> list[UUID]:
        """Take events that are due all the way, as far as it goes without waiting for targets.

        With `alone`, that one event only. Returns deliveries that may be sent and were left for
        others. Raises StoreUnavailable.
        """
        matched = self.dispatcher.match() if alone is None else self.dispatcher.match_alone(alone)
        if not matched:
            return []
        events = {each.event.uuid: each.event for each in matched}
        left = []
        revision, capacity = self.dispatcher.revision, self.deliverer.capacity()
        for dispatched in self.authoriser.admit(matched, revision, capacity):
            self.deliverer.send(dispatched.taken, events)
            left += dispatched.left
        return left

    def close(self) -> None:
        """End what is in flight, giving it the time that one delivery may take."""
        self._to_policy.close()
        self._to_targets.close(self.settings.delivery_timeout)
        self.deliverer.close()
