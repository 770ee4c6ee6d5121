"""Authorising: Policy is asked once for each event and user, whatever number of subscriptions."""

import logging
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery, Matched, Ruling, State
from pacifica.notifications.policy import (
    Verdict,
    is_unknown_user,
    policy_body,
    ruling,
    user_request,
    verdict,
    verdict_request,
)
from pacifica.notifications.settings import POLICY_TURNS, Settings
from pacifica.notifications.store.deliveries import claim_matched, events_of, record_rulings
from pacifica.notifications.store.dispatching import (
    Dispatched,
    DispatchPlan,
    plan_dispatch,
    record_dispatched,
)
from pacifica.notifications.store.holding import disable, probe_failed
from pacifica.notifications.store.revisions import SubscriptionCache
from pacifica.notifications.transport import (
    Request,
    Response,
    SendFailure,
    Transport,
    TransportBusy,
    TransportClosed,
)

_LOG = logging.getLogger(__name__)
_MOST_DELIVERIES = 5000
_TOO_SLOW = SendFailure("Policy was too slow to be asked", 0.0, ours=True)

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class _Asked:
    """What Policy answered about one user's deliveries of one event."""

    user: str
    deliveries: list[Delivery]
    answer: Response | SendFailure


class Authoriser:
    """Asks Policy about deliveries, all users of a batch at once."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        self._cache = SubscriptionCache(settings.matching.max_cached)

    def admit(self, matched: Sequence[Matched], revision: int, most: int) -> Iterator[Dispatched]:
        """Get verdicts on matched events and record them, which ends their dispatch.

        `revision` is that of the subscriptions that they were matched with, or later. Yields what
        was recorded at once and may be sent, of which `most` deliveries in all are the caller's.
        Raises StoreUnavailable; what was not recorded is due again when its lease ends.
        """
        plan = plan_dispatch(matched, revision, self._cache)
        asked = self._ask(plan.deliveries, {each.event.uuid: each.event for each in matched})
        by_event: dict[UUID, list[Ruling]] = {each.event.uuid: [] for each in matched}
        for each in self._rulings(asked):
            by_event[each.deliveries[0].event].append(each)
        for events in _portions(by_event):
            for dispatched in self._recorded({each: by_event[each] for each in events}, plan, most):
                most -= len(dispatched.claimed)
                yield dispatched
        self._disable_unknown_users(asked)

    def _recorded(
        self, by_event: Mapping[UUID, Sequence[Ruling]], plan: DispatchPlan, most: int
    ) -> Iterator[Dispatched]:
        rulings = [each for of_one in by_event.values() for each in of_one]
        lease = self._settings.celery.lease
        try:
            dispatched = record_dispatched(by_event, plan, rulings, lease=lease, max_claimed=most)
        except NotificationsError:
            raise
        except Exception:  # noqa: BLE001 the edge of a batch, whose events must not keep each other
            if len(by_event) == 1:
                _LOG.exception("event %s was not dispatched; it is tried again later", *by_event)
                return
        else:
            yield dispatched
            return
        for event, of_one in by_event.items():  # one that cannot be recorded must not keep others
            for dispatched in self._recorded({event: of_one}, plan, most):
                most -= len(dispatched.claimed)
                yield dispatched

    def authorise(self, events: Collection[UUID]) -> list[UUID]:
        """Ask again about deliveries of events; return the deliveries that may be sent.

        Raises StoreUnavailable; what was not finished is due again when its lease ends.
        """
        deliveries = claim_matched(events, self._settings.celery.lease, _MOST_DELIVERIES)
        asked = self._ask(deliveries, events_of(deliveries))
        rulings = self._rulings(asked)
        record_rulings(rulings)
        self._disable_unknown_users(asked)
        return [
            delivery.uuid
            for each in rulings
            if each.state is State.ALLOWED
            for delivery in each.deliveries
        ]

    def _rulings(self, asked: Sequence[_Asked]) -> list[Ruling]:
        now = utcnow()
        return [ruling(each.deliveries, each.answer, now, self._settings) for each in asked]

    def _ask(self, deliveries: Sequence[Delivery], events: Mapping[UUID, Event]) -> list[_Asked]:
        """Put one question for each event and user; events may have been purged a moment ago."""
        groups: dict[tuple[UUID, str], list[Delivery]] = defaultdict(list)
        for delivery in deliveries:
            if delivery.event in events:
                groups[delivery.event, delivery.subscription.user].append(delivery)
        url = self._settings.notifications.policy_url
        answers = self._answers(
            {
                (event, user): verdict_request(url, user, policy_body(events[event]))
                for event, user in groups
            }
        )
        return [_Asked(key[1], groups[key], answer) for key, answer in answers.items()]

    def _disable_unknown_users(self, asked: Sequence[_Asked]) -> None:
        """Where Policy answered with an error, find out whether the user is the reason."""
        doubtful: dict[str, list[Delivery]] = defaultdict(list)
        for each in asked:
            if isinstance(each.answer, Response) and verdict(each.answer) is Verdict.UNKNOWN:
                doubtful[each.user].extend(each.deliveries)
        url = self._settings.notifications.policy_url
        answers = self._answers({user: user_request(url, user) for user in doubtful})
        for user, answer in answers.items():
            if is_unknown_user(answer):
                error = f"Policy does not know the user {user}"
                for delivery in doubtful[user]:
                    if delivery.probe:
                        probe_failed(delivery, error, for_good=True)
                    # A probe of deliveries that wait for Policy alone has an enabled subscription.
                    if disable(delivery.subscription.uuid, error):
                        _LOG.warning("subscription %s: %s", delivery.subscription.uuid, error)

    def _answers(self, requests: Mapping[K, Request]) -> dict[K, Response | SendFailure]:
        """Wait for what Policy answers; questions that could not be put in time are given up."""
        asked: dict[K, Future[Response | SendFailure]] = {}
        for key, request in requests.items():
            try:
                asked[key] = self._transport.submit(request)
            except (TransportBusy, TransportClosed):
                break
        wait(asked.values(), timeout=POLICY_TURNS * self._settings.policy.timeout)
        answers = {
            key: _TOO_SLOW if future.cancel() else future.result() for key, future in asked.items()
        }
        return {key: answers.get(key, _TOO_SLOW) for key in requests}


def _portions(by_event: Mapping[UUID, Sequence[Ruling]]) -> Iterator[list[UUID]]:
    """Divide events so that those recorded at once have not too many deliveries."""
    portion: list[UUID] = []
    size = 0
    for event, rulings in by_event.items():
        count = sum(len(each.deliveries) for each in rulings)
        if portion and size + count > _MOST_DELIVERIES:
            yield portion
            portion, size = [], 0
        portion.append(event)
        size += count
    if portion:
        yield portion
