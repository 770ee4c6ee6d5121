"""Fetching against a simple model: nothing is lost, and nothing is handed to two at a time."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Ruling, State
from pacifica.notifications.orm import EventLogMatch, reading
from pacifica.notifications.settings import PullSettings
from pacifica.notifications.store import deliveries, expiring, pulling, resending
from pacifica.notifications.store.history import attempts_of, delivery_of
from pacifica.notifications.store.pulling import LockResult, PullLock
from tests.support.stored import LEASE, forget_rows, make_available, subscribe, write

PULL = PullSettings(attempts=3)
ANY = st.integers(0, 1000)
PAST = timedelta(hours=1)


@dataclass
class Modelled:
    """A delivery: how often it was handed out, and its lock, if somebody has it."""

    state: State = State.AVAILABLE
    attempts: int = 0
    lock: PullLock | None = None
    is_late: bool = False  # its lock has run out
    is_delayed: bool = False
    acknowledged_by: PullLock | None = None
    #: What is on record of its attempts.
    outcomes: list[str] = field(default_factory=list)

    @property
    def is_free(self) -> bool:
        is_locked = self.lock is not None and not self.is_late
        return self.state is State.AVAILABLE and not (is_locked or self.is_delayed)

    def end(self) -> None:
        """Take note that it was fetched in vain."""
        is_held = self.attempts >= PULL.attempts
        self.outcomes.append("held" if is_held else "retrying")
        self.state = State.HELD if is_held else State.AVAILABLE
        self.lock, self.is_late = None, False


class PullMachine(RuleBasedStateMachine):
    """What fetchers do in any order, those included that die, and those that are late."""

    def __init__(self) -> None:
        super().__init__()
        forget_rows()
        self.subscription = subscribe(target_url="pull:")
        self.modelled: dict[UUID, Modelled] = {}
        self.locks: list[PullLock] = []

    @initialize()
    def begin(self) -> None:
        for _ in range(3):
            self.receive()

    @rule()
    def receive(self) -> None:
        self.modelled[make_available(self.subscription)] = Modelled()

    @rule(limit=st.integers(1, 4))
    def fetch(self, limit: int) -> None:
        fetched = pulling.fetch(self.subscription, limit, 60, PULL)
        expected: list[UUID] = []
        while not expected:  # a batch of which all were handed out too often is held
            batch = [uuid for uuid, each in self.modelled.items() if each.is_free][:limit]
            for uuid in batch:
                if self.modelled[uuid].lock is not None:
                    self.modelled[uuid].end()
            expected = [uuid for uuid in batch if self.modelled[uuid].state is State.AVAILABLE]
            if not batch:
                break
        assert [each.lock.delivery for each in fetched] == expected
        for each in fetched:
            modelled = self.modelled[each.lock.delivery]
            modelled.attempts += 1
            modelled.lock = each.lock
            assert each.attempt == modelled.attempts
            self.locks.append(each.lock)

    @rule(which=st.lists(ANY, min_size=1, max_size=3, unique=True))
    def acknowledge(self, which: list[int]) -> None:
        locks = self.some(which)
        results = pulling.acknowledge(self.subscription, locks) if locks else []
        for lock, result in zip(locks, results, strict=True):
            modelled = self.modelled[lock.delivery]
            if self.is_valid(lock):
                modelled.outcomes.append("delivered")
                modelled.state, modelled.lock = State.DELIVERED, None
                modelled.acknowledged_by = lock
            is_valid = modelled.acknowledged_by == lock and modelled.state is State.DELIVERED
            assert result == (LockResult.ACKNOWLEDGED if is_valid else LockResult.EXPIRED)

    @rule(which=ANY, delay=st.sampled_from([0, 0, 100]))
    def release(self, which: int, delay: int) -> None:
        for lock in self.some([which]):
            is_valid = self.is_valid(lock)
            (result,) = pulling.release(self.subscription, [lock], delay, PULL)
            expected = LockResult.EXPIRED
            if is_valid:
                modelled = self.modelled[lock.delivery]
                modelled.end()
                is_held = modelled.state is State.HELD
                modelled.is_delayed = bool(delay) and not is_held
                expected = LockResult.HELD if is_held else LockResult.RELEASED
            assert result == expected

    @rule(which=ANY)
    def renew(self, which: int) -> None:
        for lock in self.some([which]):
            expected = LockResult.RENEWED if self.is_valid(lock) else LockResult.EXPIRED
            assert pulling.renew(self.subscription, [lock], 60) == [expected]

    @rule()
    def let_time_pass(self) -> None:
        """Let all locks run out, as those of fetchers that were killed do."""
        under_way = [uuid for uuid, each in self.modelled.items() if each.lock or each.is_delayed]
        write(EventLogMatch, under_way, leased=utcnow() - PAST)
        for uuid in under_way:
            each = self.modelled[uuid]
            each.is_late, each.is_delayed = each.lock is not None, False

    @rule(most=st.integers(0, 3))
    def expire(self, most: int) -> None:
        kept = {u: e for u, e in self.modelled.items() if e.state in expiring.KEPT_STATES}
        free = [u for u, e in kept.items() if e.state is State.HELD or e.is_free]
        expected = free[: max(len(kept) - most, 0)]
        assert expiring.expire(most, LEASE) == len(expected)
        for uuid in expected:
            self.modelled[uuid].state, self.modelled[uuid].lock = State.EXPIRED, None

    @rule(which=ANY)
    def resend(self, which: int) -> None:
        """Send one again that is over; Policy allows it."""
        over = [uuid for uuid, each in self.modelled.items() if each.state is not State.AVAILABLE]
        if not over:
            return
        uuid = over[which % len(over)]
        found = delivery_of(self.subscription, uuid)
        assert found is not None
        resending.resend(found, "alice")
        claimed = tuple(deliveries.claim_matched([found.event], LEASE, 10))
        deliveries.record_rulings([Ruling(claimed, State.ALLOWED, utcnow(), "200", "")])
        before = self.modelled[uuid]
        self.modelled[uuid] = Modelled(outcomes=before.outcomes)
        self.modelled = dict(self.modelled)

    @invariant()
    def each_delivery_is_where_the_model_has_it(self) -> None:
        stored = {row.uuid: row for row in rows()}
        assert {u: State(row.state) for u, row in stored.items()} == {
            u: each.state for u, each in self.modelled.items()
        }
        for uuid, each in self.modelled.items():
            assert stored[uuid].tries == len(each.outcomes)

    def teardown(self) -> None:
        for uuid, each in self.modelled.items():
            assert [attempt.outcome for attempt in attempts_of(uuid)] == each.outcomes

    def is_valid(self, lock: PullLock) -> bool:
        modelled = self.modelled[lock.delivery]
        return modelled.lock == lock and not modelled.is_late

    def some(self, which: list[int]) -> list[PullLock]:
        count = len(self.locks)
        found = {
            self.locks[each % count].delivery: self.locks[each % count] for each in which if count
        }
        return list(found.values())


@reading
def rows() -> list[EventLogMatch]:
    return list(EventLogMatch.select())


@pytest.mark.usefixtures("database")
def test_fetching_keeps_to_the_model(engine: str) -> None:
    examples = 60 if engine == "sqlite" else 25
    run(
        PullMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
