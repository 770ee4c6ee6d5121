"""Recording a dispatch after something else has happened to its events or subscriptions."""

from datetime import timedelta
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Matched, Ruling, State
from pacifica.notifications.orm import EventLogMatch, EventMatch
from pacifica.notifications.settings import Settings
from pacifica.notifications.store import deliveries, holding, subscriptions
from pacifica.notifications.store.dispatching import (
    DispatchPlan,
    hold_dispatched,
    plan_dispatch,
    record_dispatched,
)
from pacifica.notifications.store.revisions import SubscriptionCache, current_revision
from tests.integration.store.recovering import claim_for_policy, rule, sweep
from tests.support.stored import (
    LEASE,
    allowed,
    claim_events,
    deliveries_of,
    let_leases_run_out,
    receive,
    row,
    state,
    subscribe,
)


def begun(subscription: UUID) -> tuple[UUID, DispatchPlan]:
    """Receive an event and begin its dispatch to a subscription."""
    receive()
    (event,) = claim_events()
    matched = [Matched(event, (subscription,))]
    return event.uuid, plan_dispatch(matched, current_revision(), SubscriptionCache(10))


def test_delivery_is_dropped_when_its_disabled_subscription_was_deleted_meanwhile() -> None:
    subscription = subscribe()
    holding.disable(subscription, "an outage")
    event, plan = begun(subscription)
    subscriptions.delete("alice", subscription)
    dispatched = record_dispatched([event], plan, [], lease=LEASE, max_claimed=0)
    hold_dispatched(dispatched, plan, [])
    (delivery,) = deliveries_of(event)
    assert state(delivery)[0] == State.DROPPED


def test_subscription_waits_for_policy_only_when_a_delivery_of_it_was_recorded() -> None:
    subscription = subscribe()
    event, plan = begun(subscription)
    later = utcnow() + timedelta(hours=1)
    ruling = Ruling(tuple(plan.deliveries), State.HELD, None, "", "no answer", later)
    record_dispatched([event], plan, [], lease=LEASE, max_claimed=0)
    dispatched = record_dispatched([event], plan, [ruling], lease=LEASE, max_claimed=0)
    hold_dispatched(dispatched, plan, [ruling])
    assert deliveries_of(event) == []
    found = row(EventMatch, subscription)
    assert (found.held_due, found.probes) == (None, 0)


def test_delivery_has_no_lease_when_policy_denies_it_after_a_release(
    settings: Settings,
) -> None:
    subscription = subscribe()
    _event, (delivery,) = allowed(subscription)
    (claimed,) = deliveries.claim_allowed([delivery], LEASE, 1)
    holding.disable(subscription, "an outage")
    subscriptions.update("alice", subscription, lambda _stored: {"disabled": None, "error": None})
    sweep(settings)
    assert row(EventLogMatch, delivery).leased == claimed.leased
    let_leases_run_out(EventLogMatch, [delivery])
    rule(claim_for_policy(delivery), State.DENIED)
    found = row(EventLogMatch, delivery)
    assert (found.state, found.leased) == (State.DENIED, None)
