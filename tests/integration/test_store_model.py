"""The store against a simple model: whatever order things happen in, nothing is lost or stuck."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run

from pacifica.notifications.clock import utcnow
from pacifica.notifications.config import load_settings
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery, Outcome, Ruling, State
from pacifica.notifications.orm import EventLogMatch, EventMatch
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.store import deliveries, events, holding, recovery, subscriptions
from pacifica.notifications.subscriptions import new_subscription
from tests.support import databases
from tests.support.stored import forget_rows, migrated_database

LEASE = 1000.0
WAIT = timedelta(seconds=LEASE)
RELEASED = 2
UNDER_WAY = (State.MATCHED, State.ALLOWED)
#: When something is due, as far as the model goes: at once, once time has passed, or never.
NOW, LATER, NEVER = "now", "later", "never"


@dataclass
class Subscriber:
    """What the model knows of a subscription."""

    disabled: bool = False
    holding: bool = False
    deleted: bool = False
    held_due: str = NEVER
    probes: int = 0
    probe: UUID | None = None
    changes: int = 0


@dataclass
class Match:
    """What the model knows of a delivery."""

    event: UUID
    subscription: UUID
    state: State = State.MATCHED
    due: str = NOW
    attempts: int = 0


class Model:
    """What is to become of deliveries, in as few words as there are."""

    def __init__(self) -> None:
        self.subscribers: dict[UUID, Subscriber] = {}
        self.matches: dict[UUID, Match] = {}  # in the order of their creation

    def held(self, subscription: UUID) -> list[UUID]:
        return [
            uuid
            for uuid, match in self.matches.items()
            if match.subscription == subscription and match.state is State.HELD
        ]

    def claim(self, state: State, uuids: list[UUID]) -> list[UUID]:
        claimed = [
            u for u in uuids if self.matches[u].state is state and self.matches[u].due == NOW
        ]
        for uuid in claimed:
            self.matches[uuid].attempts += 1
            self.matches[uuid].due = LATER
        alive = [uuid for uuid in claimed if self._is_served(uuid)]
        for uuid in claimed:
            if uuid not in alive:
                self.hold(self.matches[uuid].subscription)
        return alive

    def hold(self, subscription: UUID) -> None:
        probe = self.subscribers[subscription].probe
        for uuid, match in self.matches.items():
            if match.subscription == subscription and match.state in UNDER_WAY and uuid != probe:
                match.state, match.due = State.HELD, NEVER

    def disable(self, subscription: UUID, recovers: bool) -> None:
        subscriber = self.subscribers[subscription]
        if not subscriber.disabled and not subscriber.deleted:
            subscriber.disabled = subscriber.holding = True
            subscriber.held_due, subscriber.probes = (LATER, 1) if recovers else (NEVER, 0)
            subscriber.probe = None
            subscriber.changes += 1
        if subscriber.disabled:
            self.hold(subscription)

    def release(self, subscription: UUID) -> None:
        subscriber = self.subscribers[subscription]
        subscriber.probe, subscriber.probes, subscriber.held_due = None, 0, NOW

    def hand_on(self, subscription: UUID) -> None:
        subscriber = self.subscribers[subscription]
        held = self.held(subscription)
        if subscriber.held_due != NOW:
            return
        if subscriber.probes == 0:
            self._take_up(held[:RELEASED])
            subscriber.held_due = NOW if len(held) >= RELEASED else NEVER
            return
        probe = self.matches.get(subscriber.probe) if subscriber.probe else None
        if probe is None or probe.state not in UNDER_WAY:
            self._take_up(held[:1])
            subscriber.probe = held[0] if held else None
        if subscriber.probe is None and not subscriber.disabled:
            subscriber.probes, subscriber.held_due = 0, NEVER
        else:
            subscriber.probes += 1
            subscriber.held_due = LATER

    def _take_up(self, uuids: list[UUID]) -> None:
        for uuid in uuids:
            match = self.matches[uuid]
            match.state, match.due, match.attempts = State.MATCHED, NOW, 0

    def _is_served(self, uuid: UUID) -> bool:
        subscriber = self.subscribers[self.matches[uuid].subscription]
        return not subscriber.disabled or subscriber.probe == uuid


class StoreMachine(RuleBasedStateMachine):
    """What owners, workers, Policy and targets do, in any order."""

    def __init__(self) -> None:
        super().__init__()
        forget_rows()
        self.model = Model()
        self.asked: list[Delivery] = []
        self.late: list[tuple[Delivery, int]] = []
        self.settings = replace(
            load_settings(), release_batch=RELEASED, recovery_waits=(LEASE,), recovery_horizon=1e9
        )

    @rule()
    def subscribe(self) -> None:
        body = {"name": "n", "jsonpath": "$.data", "target_url": "http://target.invalid/"}
        created = subscriptions.create(new_subscription(body, "alice", 4096))
        self.model.subscribers[UUID(created["uuid"])] = Subscriber()

    @rule()
    def match(self) -> None:
        event = Event(uuid4(), "{}")
        events.record(event)
        assert [claimed.uuid for claimed in events.claim_events([event.uuid], LEASE, LEASE)]
        to = [
            uuid
            for uuid, each in self.model.subscribers.items()
            if not each.deleted and (not each.disabled or each.holding)
        ]
        assert events.record_matches(event.uuid, to)
        for row in rows_of(event.uuid):
            self.model.matches[row.uuid] = Match(event.uuid, row.event_match_id)

    @rule(verdict=st.sampled_from(["allow", "deny", "unknown", "hold", "die"]))
    def ask_policy(self, verdict: str) -> None:
        waiting = [u for u, m in self.model.matches.items() if m.state is State.MATCHED]
        asked = {self.model.matches[uuid].event for uuid in waiting}
        claimed = deliveries.claim_matched(asked, LEASE, 1000)
        assert {each.uuid for each in claimed} == set(self.model.claim(State.MATCHED, waiting))
        if verdict == "die":
            self.asked += claimed
            return
        deliveries.record_rulings([_ruling(verdict, each) for each in claimed])
        for each in claimed:
            self._ruled(verdict, each)

    @precondition(lambda self: self.asked)
    @rule(verdict=st.sampled_from(["allow", "deny", "unknown", "hold"]), which=st.integers(0, 99))
    def rule_late(self, verdict: str, which: int) -> None:
        each = self.asked.pop(which % len(self.asked))
        if each.uuid in self.model.matches:
            deliveries.record_rulings([_ruling(verdict, each)])
            self._ruled(verdict, each)

    @rule(
        answer=st.sampled_from(["2xx", "again", "outage", "refusal", "die"]), most=st.integers(1, 3)
    )
    def send(self, answer: str, most: int) -> None:
        allowed = [u for u, m in self.model.matches.items() if m.state is State.ALLOWED]
        claimed = deliveries.claim_allowed(allowed[:most], LEASE)
        expected = self.model.claim(State.ALLOWED, allowed[:most])
        assert {each.uuid for each in claimed} == set(expected)
        for each in sorted(claimed, key=lambda one: list(self.model.matches).index(one.uuid)):
            seen = self.model.subscribers[each.subscription.uuid].changes
            if answer == "die":
                self.late.append((each, seen))
            else:
                self._answered(answer, each, seen)

    @precondition(lambda self: self.late)
    @rule(answer=st.sampled_from(["2xx", "again", "outage", "refusal"]), which=st.integers(0, 99))
    def answer_late(self, answer: str, which: int) -> None:
        each, seen = self.late.pop(which % len(self.late))
        if each.uuid in self.model.matches:
            self._answered(answer, each, seen)

    @rule()
    def let_time_pass(self) -> None:
        let_all_be_due()
        for match in self.model.matches.values():
            match.due = NOW if match.due == LATER else match.due
        for subscriber in self.model.subscribers.values():
            subscriber.held_due = NOW if subscriber.held_due == LATER else subscriber.held_due

    @rule()
    def sweep(self) -> None:
        due = recovery.due_held(1000)
        expected = {u for u, each in self.model.subscribers.items() if each.held_due == NOW}
        assert set(due) == expected
        for subscription in due:
            recovery.hand_on_held(subscription, self.settings)
            self.model.hand_on(subscription)

    @precondition(lambda self: self.model.subscribers)
    @rule(
        change=st.sampled_from(["enable", "disable", "rename", "delete"]), which=st.integers(0, 99)
    )
    def own(self, change: str, which: int) -> None:
        uuid, subscriber = list(self.model.subscribers.items())[which % len(self.model.subscribers)]
        if change == "delete":
            assert subscriptions.delete("alice", uuid) is not subscriber.deleted
        else:
            found = subscriptions.update("alice", uuid, lambda _stored: _CHANGES[change]())
            assert (found is None) is subscriber.deleted
        if not subscriber.deleted:
            self._owned(change, uuid)

    @precondition(lambda self: self.model.matches)
    @rule(which=st.integers(0, 99))
    def purge(self, which: int) -> None:
        event = list(self.model.matches.values())[which % len(self.model.matches)].event
        assert events.purge([event], None) == 1
        for uuid in [u for u, match in self.model.matches.items() if match.event == event]:
            del self.model.matches[uuid]

    @rule(most=st.integers(0, 3))
    def expire(self, most: int) -> None:
        over = {
            uuid
            for subscription in self.model.subscribers
            for uuid in self.model.held(subscription)[: -most or None]
        }
        assert holding.expire(most, 1e9) == len(over)
        for uuid in over:
            self.model.matches[uuid].state = State.EXPIRED

    @invariant()
    def each_delivery_is_where_the_model_has_it(self) -> None:
        expected = {
            uuid: (match.state, match.due, match.attempts, match.subscription)
            for uuid, match in self.model.matches.items()
        }
        found = {
            row.uuid: (row.state, due(row.due), row.attempts, row.event_match_id)
            for row in all_rows(EventLogMatch)
        }
        # What is over is not counted: a late success may find any number of attempts.
        assert {u: v if v[1] != NEVER else (v[0], v[1], v[3]) for u, v in found.items()} == {
            u: v if v[1] != NEVER else (v[0], v[1], v[3]) for u, v in expected.items()
        }

    @invariant()
    def each_subscription_is_as_the_model_has_it(self) -> None:
        for row in all_rows(EventMatch):
            expected = self.model.subscribers[row.uuid]
            assert (row.disabled is not None, row.holding) == (expected.disabled, expected.holding)
            assert (due(row.held_due), row.probes) == (expected.held_due, expected.probes)
            assert row.probe == expected.probe

    @invariant()
    def nothing_is_stuck(self) -> None:
        for uuid, subscriber in self.model.subscribers.items():
            if self.model.held(uuid) and not subscriber.disabled:
                assert subscriber.held_due != NEVER

    def teardown(self) -> None:
        """Enable all, and let everything be answered 2xx: whatever is left must arrive."""
        for uuid, subscriber in self.model.subscribers.items():
            if not subscriber.deleted:
                subscriptions.update("alice", uuid, lambda _stored: _CHANGES["enable"]())
                self._owned("enable", uuid)
        for _ in range(len(self.model.matches) + 2):
            self.let_time_pass()
            self.sweep()
            self.ask_policy("allow")
            self.send("2xx", 1000)
        assert not [m for m in self.model.matches.values() if m.state in (*UNDER_WAY, State.HELD)]
        self.each_delivery_is_where_the_model_has_it()

    def _ruled(self, verdict: str, each: Delivery) -> None:
        match = self.model.matches[each.uuid]
        subscriber = self.model.subscribers[each.subscription.uuid]
        idle = not (subscriber.disabled or subscriber.deleted or subscriber.probes)
        if verdict == "hold" and idle:
            subscriber.probe, subscriber.probes, subscriber.held_due = None, 1, LATER
        if verdict == "unknown":
            if match.state is State.MATCHED and match.attempts == each.attempts:
                match.due = LATER
            return
        if match.state is State.MATCHED:
            match.attempts = 0
            match.state, match.due = {
                "allow": (State.ALLOWED, NOW),
                "deny": (State.DENIED, NEVER),
                "hold": (State.HELD, NEVER),
            }[verdict]
        if not each.probe or subscriber.probe != each.uuid or verdict == "hold":
            return
        if not subscriber.disabled:
            self.model.release(each.subscription.uuid)
        elif verdict == "deny":
            subscriber.probe, subscriber.held_due = None, NOW
            subscriber.probes = max(subscriber.probes - 1, 1)

    def _answered(self, answer: str, each: Delivery, seen: int) -> None:
        if answer == "again" and each.probe:
            answer = "outage"  # a probe is not repeated
        deliveries.record_outcomes([_outcome(answer, each)])
        match, subscription = self.model.matches[each.uuid], each.subscription.uuid
        subscriber = self.model.subscribers[subscription]
        if answer == "2xx":
            match.state, match.due = State.DELIVERED, NEVER
            if each.probe and subscriber.probe == each.uuid:
                if subscriber.disabled:
                    subscriber.disabled = subscriber.holding = False
                    subscriber.changes += 1
                self.model.release(subscription)
            return
        if match.state is State.ALLOWED and match.attempts == each.attempts:
            match.due = LATER if answer == "again" else NOW
        if answer == "again":
            return
        if not each.probe:
            if seen == subscriber.changes:
                self.model.disable(subscription, recovers=answer == "outage")
            elif subscriber.disabled:
                self.model.hold(subscription)
        elif subscriber.probe == each.uuid and subscriber.disabled:
            subscriber.probe = None
            if answer == "refusal":
                subscriber.held_due, subscriber.probes = NEVER, 0
            self.model.hold(subscription)

    def _owned(self, change: str, uuid: UUID) -> None:
        subscriber = self.model.subscribers[uuid]
        subscriber.changes += 1
        if change == "delete":
            subscriber.deleted, subscriber.held_due = True, NEVER
            for match in self.model.matches.values():
                if match.subscription == uuid and match.state in (*UNDER_WAY, State.HELD):
                    match.state, match.due = State.DROPPED, NEVER
            return
        if change != "rename":
            subscriber.disabled, subscriber.holding = change == "disable", False
        if change != "rename" or not subscriber.disabled:
            subscriber.probe, subscriber.probes = None, 0
            subscriber.held_due = NEVER if subscriber.disabled else NOW


_CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    "enable": lambda: {"disabled": None, "error": None},
    "disable": lambda: {"disabled": utcnow()},
    "rename": lambda: {"name": "another"},
}


def _ruling(verdict: str, delivery: Delivery) -> Ruling:
    state, moment = {
        "allow": (State.ALLOWED, utcnow()),
        "deny": (State.DENIED, None),
        "unknown": (State.MATCHED, utcnow() + WAIT),
        "hold": (State.HELD, None),
    }[verdict]
    return Ruling(
        (delivery,), state, moment, "", "", utcnow() + WAIT if verdict == "hold" else None
    )


def _outcome(answer: str, delivery: Delivery) -> Outcome:
    if answer == "2xx":
        return Outcome(delivery, True, None, "200", "")
    if answer == "again":
        return Outcome(delivery, False, utcnow() + WAIT, "503", "")
    probe_due = utcnow() + WAIT if answer == "outage" else None
    return Outcome(delivery, False, utcnow(), "503", "", "an error", probe_due)


def due(moment: datetime | None) -> str:
    return NEVER if moment is None else NOW if moment <= utcnow() else LATER


@reading
def all_rows(model: Any) -> list[Any]:
    return list(model.select())


@reading
def rows_of(event: UUID) -> list[EventLogMatch]:
    found = EventLogMatch.select().where(EventLogMatch.event_log == event)
    return list(found.order_by(EventLogMatch.created, EventLogMatch.uuid))


@writing
def let_all_be_due() -> None:
    EventLogMatch.update(due=utcnow()).where(EventLogMatch.due > utcnow()).execute()
    EventMatch.update(held_due=utcnow()).where(EventMatch.held_due > utcnow()).execute()


@pytest.mark.parametrize("engine", databases.ENGINES)
def test_store_does_what_the_model_says_in_any_order(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with migrated_database(engine, tmp_path) as url, databases.configured(url, monkeypatch):
        run(
            StoreMachine,
            settings=settings(
                max_examples=25 if engine == "sqlite" else 4,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
