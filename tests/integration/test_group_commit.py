"""Events that come at the same time share a transaction, and no thread waits too long for it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.events import Event
from pacifica.notifications.stages.group_commit import GroupCommit
from pacifica.notifications.store import events
from tests.support import databases
from tests.support.servers import eventually

THREADS = 12
#: Seconds that storing may take.
TIMEOUT = 5.0
#: Seconds within which whoever waits for others has an answer.
BOUND = TIMEOUT + 1.0

Record = Callable[[Sequence[Event]], None]


def event(text: str = '{"a": 1}') -> Event:
    return Event(uuid4(), text)


class Gate:
    """Records events, keeps the groups that it was given, and may be held up."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._held: threading.Event | None = None
        self.groups: list[list[UUID]] = []

    def __call__(self, group: Sequence[Event]) -> None:
        held, self._held = self._held, None
        self.groups.append([each.uuid for each in group])
        assert held is None or held.wait(30)
        self._record(group)

    @contextmanager
    def holding(self, start: Callable[[], None]) -> Iterator[None]:
        """Hold up the call that this leads to for the time of the block."""
        held = self._held = threading.Event()
        begun = len(self.groups)
        start()
        try:
            eventually(lambda: len(self.groups) > begun, 5)
            yield
        finally:
            held.set()


class Senders:
    """A thread for each event that a test has stored."""

    def __init__(self, gate: Gate, threads: ThreadPoolExecutor, commit: GroupCommit) -> None:
        self.gate = gate
        self.commit = commit
        self._threads = threads

    def store(self, *those: Event) -> list[Future[None]]:
        """Have events stored, each by a thread that waits for it."""
        return [self._threads.submit(self.commit.store, each) for each in those]

    def store_behind(self, first: Event, *those: Event) -> list[Future[None]]:
        """Have events stored that come one after the other while the first one is being stored."""
        pending: list[Future[None]] = []
        with self.gate.holding(lambda: pending.extend(self.store(first))):
            for count, each in enumerate(those, 1):
                pending += self.store(each)
                eventually(lambda count=count: len(self.commit._waiting) == count, 5)
        return pending


@contextmanager
def senders(record: Record, **changed: Any) -> Iterator[Senders]:
    limits = {
        "max_events": 100,
        "max_bytes": 10_000,
        "max_wait": 20.0,
        "timeout": TIMEOUT,
        **changed,
    }
    gate = Gate(record)
    with ThreadPoolExecutor(2 * THREADS) as threads:
        yield Senders(gate, threads, GroupCommit(gate, **limits))


def stored(url: str) -> list[UUID]:
    """Give the events on record as another program sees them: what is committed."""
    rows = databases.execute(url, "SELECT uuid FROM eventlog")
    return [UUID(str(row[0])) for row in rows]


def errors_of(pending: Sequence[Future[Any]]) -> list[type[BaseException] | None]:
    errors = [each.exception(BOUND) for each in pending]
    return [None if error is None else type(error) for error in errors]


def test_event_is_committed_when_store_returns(database: str) -> None:
    one = event()
    with senders(events.record_all) as the:
        the.commit.store(one)
        assert stored(database) == [one.uuid]


def test_every_event_is_committed_when_many_threads_were_answered(database: str) -> None:
    with senders(events.record_all) as the:

        def store(count: int) -> list[UUID]:
            committed = [event() for _ in range(count)]
            for each in committed:
                the.commit.store(each)
                assert each.uuid in stored(database)
            return [each.uuid for each in committed]

        with ThreadPoolExecutor(THREADS) as threads:
            committed = [uuid for some in threads.map(store, [10] * THREADS) for uuid in some]
        assert sorted(stored(database)) == sorted(committed)
        assert sorted(uuid for group in the.gate.groups for uuid in group) == sorted(committed)


def test_events_share_a_transaction_when_they_come_while_another_is_stored(database: str) -> None:
    first, *others = [event() for _ in range(6)]
    with senders(events.record_all) as the:
        pending = the.store_behind(first, *others)
        assert errors_of(pending) == [None] * 6
        assert the.gate.groups == [[first.uuid], [each.uuid for each in others]]
    assert len(stored(database)) == 6


def test_nobody_is_answered_when_the_commit_is_still_under_way(database: str) -> None:
    pending: list[Future[None]] = []
    with senders(events.record_all) as the:
        with the.gate.holding(lambda: pending.extend(the.store(event()))):
            with pytest.raises(TimeoutError):
                pending[0].result(0.2)
            assert stored(database) == []
        pending[0].result(BOUND)


def test_event_fails_alone_when_it_cannot_be_stored(database: str) -> None:
    first, second, third = event(), event(), event()
    refused = replace(event(), hops=None)
    with senders(events.record_all) as the:
        pending = the.store_behind(first, second, refused, third)
        failed = errors_of(pending)
        assert failed[:2] + failed[3:] == [None, None, None]
        assert failed[2] not in (None, StoreUnavailable)
    assert sorted(stored(database)) == sorted(each.uuid for each in (first, second, third))


@pytest.mark.server
@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_event_fails_alone_when_the_database_takes_no_such_text(database: str) -> None:
    first, second, third = event(), event("\0"), event()
    with senders(events.record_all) as the:
        pending = the.store_behind(first, second, third)
        assert errors_of(pending) == [None, ValueError, None]
    assert sorted(stored(database)) == sorted([first.uuid, third.uuid])


def test_all_of_a_group_are_told_when_the_database_is_away(database: str) -> None:
    databases.drop(database)
    with senders(events.record_all) as the:
        pending = the.store_behind(*[event() for _ in range(8)])
        assert errors_of(pending) == [StoreUnavailable] * 8
        raised = [each.exception() for each in pending]
        assert len({id(error) for error in raised}) == len(raised)


# What holds on any engine.


def nothing(_group: Sequence[Event]) -> None:
    """Store nothing, successfully."""


def raising(error: BaseException) -> Record:
    def record(_group: Sequence[Event]) -> None:
        raise error

    return record


def test_group_has_no_more_events_and_bytes_than_allowed() -> None:
    sizes = [10, 10, 10, 10, 90, 20, 500, 10]
    pending = [event("x" * size) for size in sizes]
    size_of = {each.uuid: len(each.text) for each in pending}
    with senders(nothing, max_events=3, max_bytes=100) as the:
        assert set(errors_of(the.store_behind(*pending))) == {None}
        groups = [[size_of[uuid] for uuid in group] for group in the.gate.groups]
    assert groups == [[10], [10, 10, 10], [90], [20], [500], [10]]


def test_events_are_stored_beside_another_one_when_that_takes_too_long() -> None:
    others = [event() for _ in range(5)]
    hanging: list[Future[None]] = []
    with (
        senders(nothing, max_wait=0.05) as the,
        the.gate.holding(lambda: hanging.extend(the.store(event()))),
    ):
        assert errors_of(the.store(*others)) == [None] * 5
        assert not hanging[0].done()


def test_threads_that_wait_for_a_group_are_told_in_time_when_the_database_hangs() -> None:
    answers = threading.Event()

    def record(group: Sequence[Event]) -> None:
        assert len(group) == 1 or answers.wait(30)

    with senders(record, max_wait=2.0, timeout=0.1) as the:
        first, second, *others = the.store_behind(*[event() for _ in range(4)])
        try:
            assert errors_of([first, *others]) == [None, StoreUnavailable, StoreUnavailable]
            assert not second.done()  # its thread waits for the database
        finally:
            answers.set()
        assert errors_of([second]) == [None]


def test_storing_goes_on_when_the_thread_that_stores_is_interrupted() -> None:
    with senders(raising(KeyboardInterrupt())) as the:
        pending = the.store_behind(event(), event(), event())
        assert errors_of(pending) == [KeyboardInterrupt, KeyboardInterrupt, StoreUnavailable]
        assert errors_of(the.store(event())) == [KeyboardInterrupt]
        assert not the.commit._waiting


def test_rest_of_a_group_does_not_wait_for_the_database_when_it_went_away() -> None:
    def record(group: Sequence[Event]) -> None:
        if len(group) > 1:
            raise ValueError("one of them")
        if len(the.gate.groups) > 2:
            raise StoreUnavailable("away")

    with senders(record) as the:
        pending = the.store_behind(*[event() for _ in range(5)])
        began = time.monotonic()
        assert errors_of(pending) == [None, *[StoreUnavailable] * 4]
        assert time.monotonic() - began < TIMEOUT / 2
        assert len(the.gate.groups) == 3
