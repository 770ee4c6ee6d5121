"""The store against a simple model: whatever order things happen in, nothing is lost or stuck."""

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from itertools import cycle
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from hypothesis.stateful import run_state_machine_as_test as run

from pacifica.notifications import clock
from pacifica.notifications.clock import utcnow
from pacifica.notifications.config import load_settings
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Cause, Deferral, Delivery, Matched, Outcome, Ruling, State
from pacifica.notifications.orm import (
    DeferredMatch,
    EventLog,
    EventLogMatch,
    EventMatch,
    Job,
    reading,
)
from pacifica.notifications.stages.replay import MODE_STATES, ReplayMode
from pacifica.notifications.store import deliveries, events, expiring, holding, jobs, subscriptions
from pacifica.notifications.store.deferred import (
    DeferredResult,
    claim_deferred,
    record_deferred,
    users_with_deferred,
)
from pacifica.notifications.store.dispatching import (
    Dispatched,
    DispatchPlan,
    hold_dispatched,
    plan_dispatch,
    record_dispatched,
)
from pacifica.notifications.store.history import delivery_of
from pacifica.notifications.store.jobs import ClaimedJob, JobKind, NewJob
from pacifica.notifications.store.replaying import replay
from pacifica.notifications.store.resending import resend
from pacifica.notifications.store.revisions import SubscriptionCache, as_matched, current_revision
from tests.integration.store.model import OPEN, Due, Match, Model, Received, Subscriber
from tests.support.configured import changed
from tests.support.stored import forget_rows, receive, release_or_probe, subscribe, uuids_of

LEASE = 1000.0
WAIT = timedelta(seconds=LEASE)
RELEASED = 2
ALL = 1000
AGES = 1e9

# What is drawn more often is named more often: else few runs get as far as a probe.
VERDICT = st.sampled_from(["allow", "allow", "allow", "deny", "unknown", "hold"])
ANSWER = st.sampled_from(["2xx", "2xx", "again", "busy", "outage", "outage", "refusal"])
VERDICTS = st.lists(VERDICT, min_size=1, max_size=4)
ANSWERS = st.lists(ANSWER, min_size=1, max_size=4)
CHANGES = st.sampled_from(["enable", "enable", "disable", "rename", "rename", "delete"])
MOSTLY = st.sampled_from([True, True, True, True, False])
ANY = st.integers(0, ALL)
MODES = st.sampled_from(list(ReplayMode))
MAX_SUBSCRIBERS = 3
UNKNOWN = UUID(int=0)


def where(holds: Callable[["Model"], object]) -> Any:
    """Let a rule apply where the model says that it does something."""
    return precondition(lambda machine: holds(machine.model))


class StoreMachine(RuleBasedStateMachine):
    """What owners, workers, Policy and targets do, in any order.

    A worker that does not finish is one that was killed, or one that is late.
    """

    def __init__(self) -> None:
        super().__init__()
        forget_rows()
        self.model = Model(RELEASED)
        self.cache = SubscriptionCache(1)
        self.dispatching: list[tuple[UUID, DispatchPlan]] = []
        self.holding: list[tuple[Dispatched, DispatchPlan, list[Ruling], int]] = []
        self.times_passed = 0
        self.asking: list[Delivery] = []
        self.sending: list[tuple[Delivery, int, int]] = []
        #: All claims of the replay, and the one that counts.
        self.replaying: list[ClaimedJob] = []
        self.claim: ClaimedJob | None = None
        self.settings = changed(
            load_settings(),
            holding_release_batch=RELEASED,
            recovery_waits=(LEASE,),
            recovery_horizon=AGES,
        )

    # Owners, senders of events, and administrators

    @initialize(verdicts=VERDICTS, answers=ANSWERS)
    def begin(self, verdicts: list[str], answers: list[str]) -> None:
        for _ in range(2):
            self.subscribe()
        for _ in range(3):
            self.receive()
        self.go_on(verdicts, answers)

    @where(lambda model: len(model.subscribers) < MAX_SUBSCRIBERS)
    @rule()
    def subscribe(self) -> None:
        self.model.subscribers[subscribe()] = Subscriber()

    @rule(change=CHANGES, which=ANY)
    def own(self, change: str, which: int) -> None:
        uuid = picked(list(self.model.subscribers), which)
        deleted = self.model.subscribers[uuid].deleted
        if change == "delete":
            assert subscriptions.delete("alice", uuid) is not deleted
        else:
            changed = subscriptions.update("alice", uuid, lambda _stored: _CHANGES[change]())
            assert (changed is None) is deleted
        self.model.own(change, uuid)

    @rule()
    def receive(self) -> None:
        self.model.events[receive()] = Received()

    @where(lambda model: model.events)
    @rule(which=ANY)
    def dispatch_again(self, which: int) -> None:
        event = picked(list(self.model.events), which)
        assert events.dispatch_again([event]) == [event]
        self.model.events[event] = Received()

    @where(lambda model: len(model.events) > 3)
    @rule(which=ANY)
    def purge(self, which: int) -> None:
        event = picked(list(self.model.events), which)
        assert events.purge([event], None) == 1
        self.model.purge(event)

    @where(lambda model: model.matches)
    @rule(which=ANY)
    def resend(self, which: int) -> None:
        uuid = picked(list(self.model.matches), which)
        logged = delivery_of(self.model.matches[uuid].subscription, uuid)
        assert logged is not None
        resend(logged, "alice")
        self.model.send_again(uuid, Cause.RESEND)

    @where(lambda model: model.able and model.replay_due is Due.NEVER)
    @rule(which=ANY)
    def begin_replay(self, which: int) -> None:
        uuid = picked(self.model.able, which)
        self.replaying = []
        jobs.start(NewJob(JobKind.REPLAY, "alice", {}, uuid))
        self.model.replay_due = Due.NOW
        self.claim_replay()

    @where(lambda model: model.replay_due is not Due.NEVER)
    @rule()
    def cancel_replay(self) -> None:
        jobs.cancel(self.replaying[-1].job)
        self.claim, self.model.replay_due = None, Due.NEVER

    # Workers

    @where(lambda model: model.replay_due is Due.NOW)
    @rule()
    def claim_replay(self) -> None:
        self.claim = jobs.claim_job(LEASE)
        assert self.claim is not None
        self.replaying.append(self.claim)
        self.model.replay_due = Due.LATER

    @precondition(lambda self: self.replaying)
    @rule(which=ANY, mode=MODES, limit=st.integers(1, 5), ends=st.booleans())
    def replay(self, which: int, mode: ReplayMode, limit: int, ends: bool) -> None:
        """Go on with a replay by a claim, which somebody may have taken over since."""
        claimed = picked(self.replaying, which)
        uuid, states = claimed.job.subscription, MODE_STATES[mode]
        assert uuid is not None
        walked, missing = [*self.model.events, UNKNOWN][-limit:], mode is not ReplayMode.FAILED
        again, absent = [], []
        if claimed is self.claim:
            again, absent = self.model.replay(uuid, walked, states, missing)
            self.claim, self.model.replay_due = None, Due.NEVER if ends else Due.NOW
        counts: list[int] = []

        def progress_for(count: int) -> tuple[dict[str, int], float | None]:
            counts.append(count)
            return {}, None if ends else 0.0

        replayed = replay(claimed, walked, states, missing=missing, progress_for=progress_for)
        assert sorted(replayed) == sorted([*again, *absent])
        assert counts in ([], [len(replayed)])
        added = [row for row in rows(EventLogMatch) if row.uuid not in self.model.matches]
        for row in added:
            match = Match(row.event_log_id, row.event_match_id, cause=Cause.REPLAY)
            self.model.matches[row.uuid] = match
        assert sorted(row.event_log_id for row in added) == sorted(absent)

    @where(lambda model: any(each.due is Due.NOW for each in model.events.values()))
    @rule(verdicts=VERDICTS, limit=st.integers(0, 3), finishes=MOSTLY)
    def dispatch(self, verdicts: list[str], limit: int, finishes: bool) -> None:
        due = self.model.due_events(suspect=False)
        suspect = self.model.due_events(suspect=True)
        assert set(events.due_events(ALL)) == set(due)
        assert set(events.suspect_events(ALL)) == set(suspect)
        claimed = events.claim_events(ALL, ALL, LEASE)
        assert uuids_of(claimed) == set(due)
        for uuid in suspect:
            claimed += events.claim_suspect(uuid, LEASE, LEASE)
        assert uuids_of(claimed) == {*due, *suspect}
        to = tuple(uuid for uuid, each in self.model.subscribers.items() if each.is_matched)
        order = list(self.model.events)
        for event in sorted(claimed, key=lambda event: order.index(event.uuid)):
            received = self.model.events[event.uuid]
            received.due, received.attempts = Due.LATER, received.attempts + 1
            unmatched = tuple(u for u, each in self.model.subscribers.items() if each.is_waited_for)
            self.dispatching.append((event.uuid, self.plan_dispatch(event, to, unmatched)))
            if finishes:
                self.record_dispatched(verdicts, limit, True, -1)

    def plan_dispatch(
        self, event: Event, to: tuple[UUID, ...], unmatched: tuple[UUID, ...]
    ) -> DispatchPlan:
        subscribers = self.model.subscribers
        waited_for = (Deferral("alice", unmatched, parked=True),) if unmatched else ()
        matched = Matched(event, to, waited_for)
        plan = plan_dispatch([matched], current_revision(), self.cache)
        asked = [delivery.subscription.uuid for delivery in plan.deliveries]
        assert asked == [uuid for uuid in to if not subscribers[uuid].disabled]
        held = [(of, uuid) for _delivery, of, uuid in plan.disabled]
        assert held == [(event.uuid, uuid) for uuid in to if subscribers[uuid].disabled]
        return plan

    @precondition(lambda self: self.dispatching)
    @rule(verdicts=VERDICTS, limit=st.integers(0, 3), finishes=MOSTLY, which=ANY)
    def record_dispatched(
        self, verdicts: list[str], limit: int, finishes: bool, which: int
    ) -> None:
        event, plan = take(self.dispatching, which)
        given = list(zip(plan.deliveries, cycle(verdicts), strict=False))
        rulings = [_ruling(verdict, delivery) for delivery, verdict in given]
        changed = current_revision() != plan.revision
        before = {row.uuid for row in rows(EventLogMatch, EventLogMatch.event_log == event)}
        dispatched = record_dispatched([event], plan, rulings, lease=LEASE, max_claimed=limit)
        stored = {row.uuid for row in rows(EventLogMatch, EventLogMatch.event_log == event)}
        asked = {
            delivery.uuid: (delivery.subscription.uuid, verdict) for delivery, verdict in given
        }
        disabled = [(uuid, to) for uuid, _event, to in plan.disabled if uuid in stored - before]
        unmatched = [uuid for _event, each in plan.deferred for uuid in each.subscriptions]
        claimed, unclaimed = self.model.record(event, asked, disabled, unmatched, limit)
        assert dispatched.unclaimed == unclaimed
        if changed:
            claimed = self.model.still_deliverable(claimed)
        assert [delivery.uuid for delivery in dispatched.claimed] == claimed
        for delivery in dispatched.claimed:
            changes = self.model.subscribers[delivery.subscription.uuid].changes
            self.sending.append((delivery, 1, changes))
        self.holding.append((dispatched, plan, rulings, self.times_passed))
        if finishes:
            self.hold_dispatched(-1)

    @precondition(lambda self: self.holding)
    @rule(which=ANY)
    def hold_dispatched(self, which: int) -> None:
        dispatched, plan, rulings, before = take(self.holding, which)
        hold_dispatched(dispatched, plan, rulings)
        held = [each for each in rulings if each.state is State.HELD]
        self.model.hold_dispatched(
            [each.deliveries[0] for each in held if dispatched.events],
            [uuid for uuid, *_ in plan.disabled if dispatched.events],
            Due.LATER if before == self.times_passed else Due.NOW,
        )

    @where(lambda model: model.in_state(State.MATCHED))
    @rule(verdicts=VERDICTS, finishes=MOSTLY, limit=st.integers(1, 3))
    def ask_policy(self, verdicts: list[str], finishes: bool, limit: int) -> None:
        matches = self.model.matches
        waiting = self.model.in_state(State.MATCHED)
        due = {matches[uuid].event for uuid in waiting if matches[uuid].due is Due.NOW}
        assert set(deliveries.due_matched(ALL)) == due
        asked = list(dict.fromkeys(matches[uuid].event for uuid in waiting))[:limit]
        expected = self.model.claim(
            State.MATCHED, [uuid for uuid in waiting if matches[uuid].event in asked]
        )
        claimed = deliveries.claim_matched(asked, LEASE, ALL)
        assert uuids_of(claimed) == expected
        for delivery, verdict in zip(self.in_order(claimed), cycle(verdicts), strict=False):
            self.asking.append(delivery)
            if finishes:
                self.hear_policy(verdict, -1)

    @precondition(lambda self: self.asking)
    @rule(verdict=VERDICT, which=ANY)
    def hear_policy(self, verdict: str, which: int) -> None:
        delivery = take(self.asking, which)
        if delivery.uuid in self.model.matches:
            deliveries.record_rulings([_ruling(verdict, delivery)])
            self.model.rule(verdict, delivery)

    @where(lambda model: model.in_state(State.ALLOWED))
    @rule(answers=ANSWERS, finishes=MOSTLY, limit=st.integers(1, 3))
    def send(self, answers: list[str], finishes: bool, limit: int) -> None:
        allowed = self.model.in_state(State.ALLOWED)
        due = {uuid for uuid in allowed if self.model.matches[uuid].due is Due.NOW}
        assert set(deliveries.due_allowed(ALL)) == due
        expected = self.model.claim(State.ALLOWED, allowed[:limit])
        claimed = deliveries.claim_allowed(allowed[:limit], LEASE, ALL)
        assert uuids_of(claimed) == expected
        for delivery, answer in zip(self.in_order(claimed), cycle(answers), strict=False):
            claim = self.model.matches[delivery.uuid].claim
            changes = self.model.subscribers[delivery.subscription.uuid].changes
            self.sending.append((delivery, claim, changes))
            if finishes:
                self.hear_target(answer, -1)

    @precondition(lambda self: self.sending)
    @rule(answer=ANSWER, which=ANY)
    def hear_target(self, answer: str, which: int) -> None:
        delivery, claim, changes = take(self.sending, which)
        if delivery.probe and answer == "again":
            answer = "outage"  # its schedule is the subscription's
        if delivery.uuid in self.model.matches:
            deliveries.record_outcomes([_outcome(answer, delivery)])
            self.model.answer(answer, delivery, claim, changes)

    @where(lambda model: not all(each.disabled for each in model.subscribers.values()))
    @rule(unmatched=st.booleans(), which=ANY)
    def disable(self, unmatched: bool, which: int) -> None:
        uuid = picked(list(self.model.subscribers), which)
        holding.disable(uuid, "unknown user, or a JSONPath that fails", unmatched=unmatched)
        self.model.disable(uuid, unmatched=unmatched)

    @where(lambda model: any(due is Due.NOW for _event, _uuid, due in model.deferred))
    @rule()
    def match_deferred(self) -> None:
        assert users_with_deferred() == ["alice"]
        expected = self.model.match_deferred()
        found = []
        while claimed := claim_deferred("alice", LEASE):
            stored = as_matched(claimed.subscriptions)
            enabled = [u for u in claimed.subscriptions if stored[u].jsonpath is not None]
            parked = [uuid for uuid in enabled if stored[uuid].unmatched]
            matched = [uuid for uuid in enabled if not stored[uuid].unmatched]
            record_deferred(claimed, DeferredResult(matched, parked=parked))
            found += [(claimed.event, uuid) for uuid in matched]
        assert sorted(found) == sorted(expected)
        for row in rows(EventLogMatch):
            if row.uuid not in self.model.matches:
                self.model.matches[row.uuid] = Match(row.event_log_id, row.event_match_id)
                found.remove((row.event_log_id, row.event_match_id))
        assert not found

    @precondition(lambda self: self.sending)
    @rule(which=ANY)
    def release_what_is_being_sent(self, which: int) -> None:
        """Disable and enable, in no time: few runs do it by themselves."""
        subscription = picked(self.sending, which)[0].subscription.uuid
        order = list(self.model.subscribers).index(subscription)
        self.disable(False, order)
        self.own("enable", order)
        self.sweep()

    @rule()
    def let_time_pass(self) -> None:
        Later.by += 2 * WAIT
        self.times_passed += 1
        self.model.let_time_pass()

    @where(lambda model: any(s.held_due is Due.NOW for s in model.subscribers.values()))
    @rule()
    def sweep(self) -> None:
        due = holding.due_held(ALL)
        subscribers = self.model.subscribers.items()
        assert set(due) == {uuid for uuid, each in subscribers if each.held_due is Due.NOW}
        for subscription in due:
            release_or_probe(subscription, self.settings)
            self.model.release_or_probe(subscription)

    @where(lambda model: model.in_state(State.HELD))
    @rule(limit=st.integers(0, 3))
    def expire(self, limit: int) -> None:
        assert expiring.expire(limit, AGES) == self.model.expire(limit)

    @rule(verdicts=VERDICTS, answers=ANSWERS)
    def go_on(self, verdicts: list[str], answers: list[str]) -> None:
        """Wait, and process whatever is due as far as possible."""
        self.let_time_pass()
        self.sweep()
        under_way = len(self.sending)
        self.dispatch(verdicts, ALL, finishes=True)
        for answer, _sent in zip(cycle(answers), self.sending[under_way:], strict=False):
            self.hear_target(answer, -1)
        self.ask_policy(verdicts, finishes=True, limit=ALL)
        self.send(answers, finishes=True, limit=ALL)
        if any(due is Due.NOW for _event, _uuid, due in self.model.deferred):
            self.match_deferred()

    def in_order(self, claimed: list[Delivery]) -> list[Delivery]:
        order = list(self.model.matches)
        return sorted(claimed, key=lambda delivery: order.index(delivery.uuid))

    # What always holds

    @invariant()
    def each_event_is_where_the_model_has_it(self) -> None:
        found = {row.uuid: (when(row.due), row.attempts) for row in rows(EventLog)}
        assert found == {u: (each.due, each.attempts) for u, each in self.model.events.items()}

    @invariant()
    def each_delivery_is_where_the_model_has_it(self) -> None:
        matches = self.model.matches
        found = rows(EventLogMatch)
        assert uuids_of(found) == set(matches)
        for row in found:
            match = matches[row.uuid]
            assert (row.event_log_id, row.event_match_id) == (match.event, match.subscription)
            assert (row.state, when(row.due)) == (match.state, match.due)
            assert (when(row.leased), row.cause) == (match.leased, match.cause)
            if match.due is not Due.NEVER:
                assert row.attempts == match.attempts

    @invariant()
    def each_subscription_is_as_the_model_has_it(self) -> None:
        for row in rows(EventMatch):
            expected = self.model.subscribers[row.uuid]
            assert (row.disabled is not None, row.holding) == (expected.disabled, expected.holding)
            assert (row.deleted is not None, row.probe) == (expected.deleted, expected.probe)
            assert (when(row.held_due), row.probes) == (expected.held_due, expected.probes)

    @invariant()
    def what_is_deferred_is_where_the_model_has_it(self) -> None:
        found = [
            (row.event, UUID(uuid), when(row.due))
            for row in rows(DeferredMatch)
            for uuid in row.subscriptions.split()
        ]
        assert sorted(found, key=str) == sorted(self.model.deferred, key=str)

    @invariant()
    def the_replay_is_due_when_the_model_says(self) -> None:
        assert {when(row.due) for row in rows(Job)} <= {self.model.replay_due, Due.NEVER}

    @invariant()
    def nothing_is_stuck(self) -> None:
        for match in self.model.matches.values():
            subscriber = self.model.subscribers[match.subscription]
            if match.state is State.HELD:
                assert subscriber.disabled or subscriber.held_due is not Due.NEVER
            assert (match.due is Due.NEVER) is (match.state not in (State.MATCHED, State.ALLOWED))

    def teardown(self) -> None:
        """Enable everything and let every answer be a success: whatever is open arrives."""
        for which in range(len(self.model.subscribers)):
            self.own("enable", which)
        self.go_on(["allow"], ["2xx"])
        for _ in range(len(self.model.matches) + 3):
            self.go_on(["allow"], ["2xx"])
            if not any(match.state in OPEN for match in self.model.matches.values()):
                break
        self.each_delivery_is_where_the_model_has_it()
        assert not [match for match in self.model.matches.values() if match.state in OPEN]
        for _event, subscription, _due in self.model.deferred:
            assert self.model.subscribers[subscription].deleted


_CHANGES: dict[str, Callable[[], dict[str, Any]]] = {
    "enable": lambda: {"disabled": None, "error": None},
    "disable": lambda: {"disabled": utcnow()},
    "rename": lambda: {"name": "another"},
}


def _ruling(verdict: str, delivery: Delivery) -> Ruling:
    state, due, probe_due = {
        "allow": (State.ALLOWED, utcnow(), None),
        "deny": (State.DENIED, None, None),
        "unknown": (State.MATCHED, utcnow() + WAIT, None),
        "hold": (State.HELD, None, utcnow() + WAIT),
    }[verdict]
    return Ruling((delivery,), state, due, "", "", probe_due)


def _outcome(answer: str, delivery: Delivery) -> Outcome:
    if answer == "2xx":
        return Outcome(delivery, True, None, "200", "")
    if answer in ("again", "busy"):
        return Outcome(delivery, False, utcnow() + WAIT, "503", "", tried=answer == "again")
    probe_due = utcnow() + WAIT if answer == "outage" else None
    return Outcome(delivery, False, utcnow(), "503", "", "an error", probe_due)


def picked(among: list[Any], which: int) -> Any:
    return among[which % len(among)]


def take(among: list[Any], which: int) -> Any:
    return among.pop(which % len(among))


def when(moment: datetime | None) -> Due:
    return Due.NEVER if moment is None else Due.NOW if moment <= utcnow() else Due.LATER


@reading
def rows(model: Any, *conditions: Any) -> list[Any]:
    query = model.select().where(*conditions) if conditions else model.select()
    created = getattr(model, "created", model.uuid)
    return list(query.order_by(created, model.uuid))


class Later(datetime):
    """A clock that can be moved on."""

    by = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Give the time that it would be."""
        return datetime.now(tz) + cls.by


def test_store_does_what_the_model_says_in_any_order(
    migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "datetime", Later)
    on_sqlite = migrated.startswith("sqlite")
    run(
        StoreMachine,
        settings=settings(
            max_examples=40 if on_sqlite else 5,
            stateful_step_count=50,
            deadline=None,
            derandomize=False,
            # To shrink an example takes longer than a test may.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("answer", ["again", "busy"])
def test_store_counts_a_late_answer_to_what_was_released_meanwhile(
    migrated: str,  # noqa: ARG001 (the settings name that database)
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    monkeypatch.setattr(clock, "datetime", Later)
    machine = StoreMachine()
    machine.subscribe()
    machine.receive()
    machine.dispatch(["allow"], 1, finishes=True)
    machine.release_what_is_being_sent(0)
    machine.let_time_pass()
    machine.ask_policy(["allow"], finishes=True, limit=ALL)
    machine.hear_target(answer, 0)
    machine.each_delivery_is_where_the_model_has_it()
    machine.teardown()
