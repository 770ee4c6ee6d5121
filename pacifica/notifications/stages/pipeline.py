"""The stages of one worker process: dispatch, authorise, deliver, record."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from uuid import UUID

from pacifica.notifications.delivery import Links
from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.flow import Delivery
from pacifica.notifications.metrics import Tallies
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.authorise import Authoriser
from pacifica.notifications.stages.deferred import DeferredMatcher
from pacifica.notifications.stages.deliver import Deliverer
from pacifica.notifications.stages.dispatch import Dispatcher
from pacifica.notifications.store.events import release_events
from pacifica.notifications.transport import Transport


class Pipeline:
    """Takes events and deliveries through the stages, until `close`."""

    def __init__(
        self,
        settings: Settings,
        to_policy: Transport,
        to_targets: Transport,
        nudge_dispatch: Callable[[Sequence[UUID]], None],
        tallies: Tallies,
        collect: Callable[[Sequence[Delivery]], None] | None = None,
    ) -> None:
        max_length = settings.eventmatch.jsonpath_max_length
        budget = settings.matching.budget
        self.dispatcher = Dispatcher(settings.celery, budget, max_length, nudge_dispatch)
        self.deferred = DeferredMatcher(budget, max_length, settings.celery.lease)
        #: Whether the last events were not matched with all subscriptions.
        self.has_deferred = False
        self.authoriser = Authoriser(
            settings.notifications.policy_url,
            settings.policy,
            settings.recovery,
            settings.celery.lease,
            settings.matching.max_cached,
            to_policy,
        )
        self.deliverer = Deliverer(
            settings.delivery,
            settings.recovery,
            settings.celery.lease,
            to_targets,
            tallies,
            Links(settings.mail.link, settings.mail.base_url),
            collect,
        )

    def dispatch(self, alone: UUID | None = None) -> list[UUID]:
        """Match events that are due, ask Policy about them, and send what is allowed.

        With `alone`, only that event. It does not wait for targets. Returns the deliveries that may
        be sent and were left for other workers. Raises StoreUnavailable.
        """
        matched = self.dispatcher.match() if alone is None else self.dispatcher.match_alone(alone)
        self.has_deferred = any(each.deferrals for each in matched)
        if not matched:
            return []
        events = {each.event.uuid: each.event for each in matched}
        unclaimed = []
        revision, max_claimed = self.dispatcher.revision, self.deliverer.capacity()
        try:
            for dispatched in self.authoriser.dispatch(matched, revision, max_claimed):
                self.deliverer.send(dispatched.claimed, events)
                unclaimed += dispatched.unclaimed
        except NotificationsError:
            with suppress(NotificationsError):  # otherwise they are due when their lease ends
                release_events(events)
            raise
        return unclaimed

    def match_deferred(self) -> bool:
        """Match deferred events for a moment, and send what is allowed; return whether to go on.

        Raises StoreUnavailable.
        """
        self.dispatcher.parse_more()
        events, goes_on = self.deferred.match()
        if events:
            self.deliverer.deliver(self.authoriser.authorise(events))
        return goes_on

    def close(self) -> None:
        """Let late answers be recorded, within a bound; the transports are closed before."""
        self.deliverer.close()
