"""Owners and workers at once, on every engine: all that was received arrives in the end."""

import itertools
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.flow import Delivery, Matched, Outcome, Ruling, State
from pacifica.notifications.orm import EventLog, EventLogMatch, EventMatch, reading, writing
from pacifica.notifications.settings import Settings
from pacifica.notifications.store import deliveries, events, holding, subscriptions
from pacifica.notifications.store.dispatching import (
    hold_dispatched,
    plan_dispatch,
    record_dispatched,
)
from pacifica.notifications.store.revisions import SubscriptionCache, current_revision
from tests.support.configured import changed
from tests.support.stored import (
    LEASE,
    claim_events,
    claim_suspect,
    receive,
    received,
    release_or_probe,
    subscribe,
)

ROUNDS = 40
ALL = 1000


@pytest.mark.parametrize("seed", range(2))
def test_everything_arrives_when_owners_and_workers_work_at_once(
    settings: Settings, seed: int
) -> None:
    to = [subscribe() for _ in range(3)]
    received(5)
    hurried = changed(settings, recovery_waits=(0.0,), holding_release_batch=3)

    def work(answers: Answers) -> None:
        dispatch(to, answers)
        ask_policy(answers)
        send(answers)

    def sweep(_answers: Answers) -> None:
        assert not stuck()
        for subscription in holding.due_held(ALL):
            release_or_probe(subscription, hurried)

    def own(answers: Answers) -> None:
        receive()
        disabled = answers.chance.choice([None, None, utcnow()])
        changes = {"disabled": disabled}
        subscriptions.update("alice", answers.chance.choice(to), lambda _stored: changes)

    at_once([work, work, work, sweep, own], seed)
    for subscription in to:
        subscriptions.update("alice", subscription, lambda _stored: {"disabled": None})
    good = Answers(random.Random(seed), all_good=True)  # noqa: S311
    for _ in range(ROUNDS * len(to)):
        let_everything_be_due()
        sweep(good)
        work(good)
        if not left():
            break
    assert not left()
    assert of_each_event() == {len(to)}


@dataclass(frozen=True)
class Answers:
    """What Policy and targets answer: anything, or only success."""

    chance: random.Random
    all_good: bool = False

    def one_of(self, **weights: int) -> str:
        """Return one of the words, of which the first is the good one."""
        words = list(weights)
        return words[0] if self.all_good else self.chance.choices(words, [*weights.values()])[0]


def at_once(all_of: list[Callable[[Answers], None]], seed: int) -> None:
    """Repeat each action beside the others; one that the database refuses was cut off."""
    start = threading.Barrier(len(all_of))

    def again_and_again(number: int) -> None:
        answers = Answers(random.Random(seed * 100 + number))  # noqa: S311
        start.wait(10)
        for _ in range(ROUNDS):
            with suppress(StoreUnavailable):
                all_of[number](answers)

    with ThreadPoolExecutor(len(all_of)) as threads:
        list(threads.map(again_and_again, range(len(all_of))))


def dispatch(to: list[UUID], answers: Answers) -> None:
    suspects = [claim_suspect(uuid) for uuid in events.suspect_events(ALL)]
    for event in itertools.chain(claim_events(), *suspects):
        matched = Matched(event, tuple(to))
        plan = plan_dispatch([matched], current_revision(), SubscriptionCache(10))
        rulings = [ruling(delivery, answers) for delivery in plan.deliveries]
        dispatched = record_dispatched([event.uuid], plan, rulings, lease=LEASE, max_claimed=2)
        record(dispatched.claimed, answers)
        hold_dispatched(dispatched, plan, rulings)


def ask_policy(answers: Answers) -> None:
    for delivery in deliveries.claim_matched(deliveries.due_matched(ALL), LEASE, 5):
        deliveries.record_rulings([ruling(delivery, answers)])


def ruling(delivery: Delivery, answers: Answers) -> Ruling:
    verdict = answers.one_of(allow=12, deny=1, unknown=3, hold=3)
    if verdict == "allow":
        return Ruling((delivery,), State.ALLOWED, utcnow(), "200", "")
    if verdict == "deny":
        return Ruling((delivery,), State.DENIED, None, "403", "")
    if verdict == "unknown":
        return Ruling((delivery,), State.MATCHED, utcnow(), "500", "")
    return Ruling((delivery,), State.HELD, None, "500", "", utcnow())


def send(answers: Answers) -> None:
    record(deliveries.claim_allowed(deliveries.due_allowed(5), LEASE, ALL), answers)


def record(sent: list[Delivery], answers: Answers) -> None:
    deliveries.record_outcomes([outcome(delivery, answers) for delivery in sent])


def outcome(delivery: Delivery, answers: Answers) -> Outcome:
    answer = answers.one_of(success=8, outage=3, refusal=1)
    if answer == "success":
        return Outcome(delivery, True, None, "200", "")
    probe_due = utcnow() if answer == "outage" else None
    return Outcome(delivery, False, utcnow(), "503", "", "an error", probe_due)


@writing
def let_everything_be_due() -> None:
    """Let all leases end, as if their workers had died."""
    for column in (EventLog.due, EventLogMatch.due, EventMatch.held_due):
        column.model.update({column: utcnow()}).where(column.is_null(False)).execute()


@reading
def stuck() -> bool:
    """Tell whether something is held for an enabled subscription and never released."""
    held = EventLogMatch.select().join(EventMatch).where(EventLogMatch.state == State.HELD)
    return held.where(EventMatch.disabled.is_null(), EventMatch.held_due.is_null()).exists()


@reading
def left() -> bool:
    """Tell whether any delivery is unfinished."""
    ended = (State.DELIVERED, State.DENIED)
    undispatched = EventLog.select().where(EventLog.due.is_null(False)).exists()
    return undispatched or EventLogMatch.select().where(EventLogMatch.state.not_in(ended)).exists()


@reading
def of_each_event() -> set[int]:
    """Return how many deliveries the events have."""
    uuids = [row.uuid for row in EventLog.select(EventLog.uuid)]
    return {EventLogMatch.select().where(EventLogMatch.event_log == u).count() for u in uuids}
