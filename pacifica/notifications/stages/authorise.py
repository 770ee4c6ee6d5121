"""Authorising: Policy is asked once for each event and user, whatever number of subscriptions."""

import logging
from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping
from concurrent.futures import Future, wait
from typing import TypeVar
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Delivery, State
from pacifica.notifications.policy import (
    Verdict,
    is_unknown_user,
    ruling,
    user_request,
    verdict,
    verdict_request,
)
from pacifica.notifications.settings import POLICY_TURNS, Settings
from pacifica.notifications.store.deliveries import claim_matched, events_of, record_rulings
from pacifica.notifications.store.holding import disable
from pacifica.notifications.store.recovery import probe_failed
from pacifica.notifications.transport import Answer, NoAnswer, Transport

_LOG = logging.getLogger(__name__)
_MOST_DELIVERIES = 5000
_TOO_SLOW = NoAnswer("Policy was too slow to be asked", 0.0, ours=True)

K = TypeVar("K", bound=Hashable)


class Authoriser:
    """Asks Policy about claimed deliveries, all users of a batch at once."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport

    def authorise(self, events: Collection[UUID]) -> list[UUID]:
        """Get verdicts on the deliveries of the events; return the deliveries that may be sent.

        Raises StoreUnavailable and TransportBusy; what was not finished is due again when its lease
        ends.
        """
        settings = self._settings
        deliveries = claim_matched(events, settings.lease, _MOST_DELIVERIES)
        groups: dict[tuple[UUID, str], list[Delivery]] = defaultdict(list)
        for delivery in deliveries:
            groups[delivery.event, delivery.subscription.user].append(delivery)
        known = events_of(deliveries)
        asked = {
            (event, user): self._transport.submit(
                verdict_request(settings.policy_url, user, known[event].text)
            )
            for event, user in groups
            if event in known
        }
        answers = self._answers(asked)
        now = utcnow()
        rulings = [ruling(groups[key], answer, now, settings) for key, answer in answers.items()]
        record_rulings(rulings)
        self._disable_unknown_users(groups, answers)
        return [
            delivery.uuid
            for each in rulings
            if each.state is State.ALLOWED
            for delivery in each.deliveries
        ]

    def _disable_unknown_users(
        self,
        groups: dict[tuple[UUID, str], list[Delivery]],
        answers: dict[tuple[UUID, str], Answer | NoAnswer],
    ) -> None:
        """Where Policy answered with an error, find out whether the user is the reason."""
        doubtful: dict[str, list[Delivery]] = defaultdict(list)
        for key, answer in answers.items():
            if isinstance(answer, Answer) and verdict(answer) is Verdict.UNKNOWN:
                doubtful[key[1]].extend(groups[key])
        asked: dict[str, Future[Answer | NoAnswer]] = {
            user: self._transport.submit(user_request(self._settings.policy_url, user))
            for user in doubtful
        }
        for user, answer in self._answers(asked).items():
            if is_unknown_user(answer):
                error = f"Policy does not know the user {user}"
                for delivery in doubtful[user]:
                    if delivery.probe:
                        probe_failed(delivery, error, for_good=True)
                    # A probe of deliveries that wait for Policy alone has an enabled subscription.
                    if disable(delivery.subscription.uuid, error):
                        _LOG.warning("subscription %s: %s", delivery.subscription.uuid, error)

    def _answers(self, asked: Mapping[K, Future[Answer | NoAnswer]]) -> dict[K, Answer | NoAnswer]:
        """Wait for what Policy answers; questions that could not be put in time are given up."""
        wait(asked.values(), timeout=POLICY_TURNS * self._settings.policy_timeout)
        return {
            key: _TOO_SLOW if future.cancel() else future.result() for key, future in asked.items()
        }
