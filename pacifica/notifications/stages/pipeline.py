"""The stages as one worker process has them, with the connections they keep."""

from uuid import UUID

from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.authorise import Authoriser
from pacifica.notifications.stages.deliver import Deliverer
from pacifica.notifications.stages.dispatch import Dispatcher
from pacifica.notifications.subscriptions.networks import delivery_rules
from pacifica.notifications.transport import Limits, Transport

# Policy is one host, which may have a quarter of them: more than one batch ever asks.
_POLICY_QUEUE = 40_000


class Pipeline:
    """Dispatch, authorise and deliver, until `close`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._to_policy = Transport(
            Limits(
                connect_timeout=settings.policy.connect_timeout,
                total_timeout=settings.policy.timeout,
                read_timeout=settings.policy.read_timeout,
                response_bytes=settings.delivery.response_bytes,
                connections_per_host=settings.delivery.connections_per_host,
                queue=_POLICY_QUEUE,
            )
        )
        self._to_targets = Transport(
            Limits(
                connect_timeout=settings.delivery.connect_timeout,
                total_timeout=settings.delivery.timeout,
                read_timeout=settings.delivery.read_timeout,
                response_bytes=settings.delivery.response_bytes,
                connections_per_host=settings.delivery.connections_per_host,
                connections=settings.delivery.connections,
                queue=settings.delivery.unfinished,
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
        revision, room = self.dispatcher.revision, self.deliverer.room()
        for dispatched in self.authoriser.admit(matched, revision, room):
            self.deliverer.send(dispatched.claimed, events)
            left += dispatched.unclaimed
        return left

    def close(self) -> None:
        """End what is in flight, giving it the time that one delivery may take."""
        self._to_policy.close()
        self._to_targets.close(self.settings.delivery.timeout)
        self.deliverer.close()
