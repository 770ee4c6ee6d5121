"""The stages as one worker process has them, with the connections they keep."""

from uuid import UUID

from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.authorise import Authoriser
from pacifica.notifications.stages.deliver import Deliverer
from pacifica.notifications.stages.dispatch import Dispatcher
from pacifica.notifications.transport import Transport


class Pipeline:
    """Dispatch, authorise and deliver, until `close`."""

    def __init__(self, settings: Settings, to_policy: Transport, to_targets: Transport) -> None:
        self.dispatcher = Dispatcher(settings)
        self.authoriser = Authoriser(settings, to_policy)
        self.deliverer = Deliverer(settings, to_targets)

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
        """Let late answers be recorded, within a bound; the transports are closed before."""
        self.deliverer.close()
