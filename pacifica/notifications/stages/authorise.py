"""Asks Policy who may see which event: once for each event and user, however many subscriptions."""

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
from pacifica.notifications.outages import Outage
from pacifica.notifications.policy import (
    Verdict,
    own_verdict,
    policy_body,
    ruling,
    verdict,
    verdict_request,
)
from pacifica.notifications.settings import POLICY_TURNS, PolicySettings, RecoverySettings
from pacifica.notifications.stages.knownusers import KnownUsers
from pacifica.notifications.store.deliveries import claim_matched, events_of, record_rulings
from pacifica.notifications.store.dispatching import (
    Dispatched,
    DispatchPlan,
    hold_dispatched,
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
# So many deliveries are recorded in one transaction.
_MAX_DELIVERIES = 5000
_NOT_ASKED = SendFailure("Policy was too slow to be asked", 0.0, ours=True)

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class _Answered:
    """What Policy answered about one user's deliveries of one event; of own ones, nobody asked."""

    user: str
    deliveries: list[Delivery]
    result: Response | SendFailure
    is_own: bool = False


class Authoriser:
    """Asks Policy about deliveries, all users of a batch at once."""

    def __init__(
        self,
        url: str,
        policy: PolicySettings,
        recovery: RecoverySettings,
        lease: float,
        max_cached: int,
        transport: Transport,
    ) -> None:
        self._url = url
        self._policy = policy
        self._recovery = recovery
        self._lease = lease
        self._cache = SubscriptionCache(max_cached)
        self._transport = transport
        self._users = KnownUsers(url, self._results)
        self._outage = Outage(_LOG, "Policy")

    def dispatch(
        self, matched: Sequence[Matched], revision: int, max_claimed: int
    ) -> Iterator[Dispatched]:
        """Get verdicts on matched events and record them, which ends their dispatch.

        `revision` is that of the subscriptions that they were matched with, or later. Yields the
        deliveries of each transaction that may be sent; the caller claims `max_claimed` of them in
        all. Raises StoreUnavailable; what was not recorded is due again when its lease ends.
        """
        plan = plan_dispatch(matched, revision, self._cache)
        answered = self._ask(plan.deliveries, {each.event.uuid: each.event for each in matched})
        by_event: dict[UUID, list[Ruling]] = {each.event.uuid: [] for each in matched}
        for each in self._rulings(answered):
            by_event[each.deliveries[0].event].append(each)
        for events in _chunks(by_event):
            rulings = {event: by_event[event] for event in events}
            for dispatched in self._record(rulings, plan, max_claimed):
                max_claimed -= len(dispatched.claimed)
                yield dispatched
        self._disable_unknown_users(answered)

    def _record(
        self, by_event: Mapping[UUID, Sequence[Ruling]], plan: DispatchPlan, max_claimed: int
    ) -> Iterator[Dispatched]:
        """Record the rulings on some events together, or each event alone where that fails."""
        rulings = [ruling for each in by_event.values() for ruling in each]
        try:
            dispatched = record_dispatched(
                by_event, plan, rulings, lease=self._lease, max_claimed=max_claimed
            )
            yield dispatched
            hold_dispatched(dispatched, plan, rulings)
            return
        except NotificationsError:
            raise
        except Exception:  # noqa: BLE001 the edge of a batch: one event must not stop the others
            if len(by_event) == 1:
                _LOG.exception("event %s was not dispatched; it is tried again later", *by_event)
                return
        for event, alone in by_event.items():
            for dispatched in self._record({event: alone}, plan, max_claimed):
                max_claimed -= len(dispatched.claimed)
                yield dispatched

    def authorise(self, events: Collection[UUID]) -> list[UUID]:
        """Ask again about deliveries of events; return the deliveries that may be sent.

        Raises StoreUnavailable; what was not finished is due again when its lease ends.
        """
        deliveries = claim_matched(events, self._lease, _MAX_DELIVERIES)
        answered = self._ask(deliveries, events_of(deliveries))
        rulings = self._rulings(answered)
        record_rulings(rulings)
        self._disable_unknown_users(answered)
        return [
            delivery.uuid
            for each in rulings
            if each.state is State.ALLOWED
            for delivery in each.deliveries
            if not delivery.subscription.is_pulled
        ]

    def _rulings(self, answered: Sequence[_Answered]) -> list[Ruling]:
        now = utcnow()
        return [
            ruling(each.deliveries, each.result, now, self._policy, self._recovery)
            for each in answered
        ]

    def _ask(self, deliveries: Sequence[Delivery], events: Mapping[UUID, Event]) -> list[_Answered]:
        """Ask one question for each event and user; an event may have been purged a moment ago."""
        groups: dict[tuple[UUID, str], list[Delivery]] = defaultdict(list)
        for delivery in deliveries:
            if delivery.event in events:
                groups[delivery.event, delivery.subscription.user].append(delivery)
        own = {key: own_verdict(events[key[0]], key[1]) for key in groups}
        results = self._results(
            {
                (event, user): verdict_request(self._url, user, policy_body(events[event]))
                for event, user in groups
                if own[event, user] is None
            }
        )
        return [
            *(_Answered(key[1], groups[key], result) for key, result in results.items()),
            *(
                _Answered(key[1], groups[key], result, is_own=True)
                for key, result in own.items()
                if result is not None
            ),
        ]

    def _disable_unknown_users(self, answered: Sequence[_Answered]) -> None:
        """Find out whether an unknown user is why Policy answered with an error (5xx)."""
        answered = [each for each in answered if not each.is_own]
        doubtful: dict[str, list[Delivery]] = defaultdict(list)
        for each in answered:
            if verdict(each.result) is not Verdict.UNKNOWN:
                self._users.forget([each.user])
            elif isinstance(each.result, Response):
                doubtful[each.user].extend(each.deliveries)
        # Probes are rare by themselves, and each must find out what it can.
        probing = {user for user, tried in doubtful.items() if any(each.probe for each in tried)}
        unknown = self._users.unknown(doubtful, urgent=probing)
        self._note_outage([each.result for each in answered if each.user not in unknown])
        for user in unknown:
            error = f"Policy does not know the user {user}"
            for delivery in doubtful[user]:
                if delivery.probe:
                    probe_failed(delivery, error, for_good=True)
                # A probe of deliveries that wait for Policy alone has an enabled subscription.
                disable(delivery.subscription.uuid, error)

    def _note_outage(self, results: Sequence[Response | SendFailure]) -> None:
        """Take note whether Policy gives verdicts on the users that it may know."""
        if any(verdict(result) is not Verdict.UNKNOWN for result in results):
            self._outage.worked()
        elif results:
            self._outage.failed(_cause(results[0]))

    def _results(self, requests: Mapping[K, Request]) -> dict[K, Response | SendFailure]:
        """Send requests to Policy and wait for the results; what cannot be sent in time is not."""
        futures: dict[K, Future[Response | SendFailure]] = {}
        for key, request in requests.items():
            try:
                futures[key] = self._transport.submit(request)
            except (TransportBusy, TransportClosed):
                break
        wait(futures.values(), timeout=POLICY_TURNS * self._policy.timeout)
        results = {
            key: _NOT_ASKED if future.cancel() else future.result()
            for key, future in futures.items()
        }
        return {key: results.get(key, _NOT_ASKED) for key in requests}


def _cause(result: Response | SendFailure) -> str:
    return f"it answers {result.status}" if isinstance(result, Response) else result.reason


def _chunks(by_event: Mapping[UUID, Sequence[Ruling]]) -> Iterator[list[UUID]]:
    """Divide events into chunks whose deliveries one transaction can record."""
    chunk: list[UUID] = []
    size = 0
    for event, rulings in by_event.items():
        count = sum(len(each.deliveries) for each in rulings)
        if chunk and size + count > _MAX_DELIVERIES:
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += count
    if chunk:
        yield chunk
