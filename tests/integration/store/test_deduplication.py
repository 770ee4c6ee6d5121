"""Deduplication on every engine: in one batch, one after another, and at once."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications import tasks
from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import TooLarge
from pacifica.notifications.events import Event
from pacifica.notifications.jsontext import write_json
from pacifica.notifications.orm import EventLog, FirstEvent, reading, writing
from pacifica.notifications.store import deduplication, events
from pacifica.notifications.store.deduplication import forget, record_first

WINDOW = 600.0
THREADS = 8
ONLY_MARIADB = pytest.mark.parametrize("engine", ["mariadb"], indirect=True)


@pytest.fixture(autouse=True)
def no_first_events(database: str) -> None:  # noqa: ARG001 (it is the one that is configured)
    @writing
    def remove() -> None:
        FirstEvent.delete().execute()

    remove()


def event(identifier: str = "i", source: str = "s", **more: Any) -> Event:
    attributes = {"specversion": "1.0", "type": "t", "source": source, "id": identifier}
    return Event(uuid4(), write_json({**attributes, **more}), 0, "1.0")


def of_0_1(identifier: str) -> Event:
    attributes = {"cloudEventsVersion": "0.1", "eventType": "t", "source": "s"}
    return Event(uuid4(), write_json({**attributes, "eventID": identifier}), 0, "0.1")


@reading
def stored() -> list[UUID]:
    return [row.uuid for row in EventLog.select(EventLog.uuid)]


@writing
def let_pass(seconds: float) -> None:
    """Make every first event older by some seconds."""
    for row in list(FirstEvent.select()):
        row.created -= timedelta(seconds=seconds)
        row.save()


def test_event_is_stored_once_and_has_the_first_ones_id_when_it_comes_again() -> None:
    first, again, other = event(), event(data="changed"), event("j")
    assert record_first([first], WINDOW) == [first.uuid]
    assert record_first([again], WINDOW) == [first.uuid]
    assert record_first([other], WINDOW) == [other.uuid]
    assert sorted(stored()) == sorted([first.uuid, other.uuid])


def test_event_is_stored_again_when_the_window_has_passed_since_the_first() -> None:
    first, second, third = event(), event(), event()
    record_first([first], WINDOW)
    let_pass(WINDOW - 60)
    assert record_first([second], WINDOW) == [first.uuid]
    let_pass(61)
    assert record_first([second], WINDOW) == [second.uuid]
    assert record_first([third], WINDOW) == [second.uuid]
    assert sorted(stored()) == sorted([first.uuid, second.uuid])


def test_events_of_one_batch_are_stored_once_each_when_some_are_duplicates() -> None:
    old = event("old")
    record_first([old], WINDOW)
    batch = [event("a"), event("old"), event("b"), event("a"), of_0_1("b"), event("a")]
    a, _, b, *_ = batch
    assert record_first(batch, WINDOW) == [each.uuid for each in (a, old, b, a, b, a)]
    assert sorted(stored()) == sorted([old.uuid, a.uuid, b.uuid])


def test_events_differ_when_source_and_id_only_concatenate_to_the_same() -> None:
    alike = [event("b", "a,"), event(",b", "a"), event('b","c', "a"), event("c", 'a","b')]
    assert record_first(alike, WINDOW) == [each.uuid for each in alike]


def test_event_is_always_stored_when_it_names_no_version() -> None:
    plain = [Event(uuid4(), '{"source": "s", "id": "i"}') for _ in range(3)]
    assert record_first(plain, WINDOW) == [each.uuid for each in plain]
    assert sorted(stored()) == sorted(each.uuid for each in plain)


def test_more_events_than_one_statement_takes_are_all_stored_once() -> None:
    batch = [event(str(number)) for number in range(1200)]
    assert record_first(batch, WINDOW) == [each.uuid for each in batch]
    again = [event(str(number)) for number in range(1200)]
    assert record_first(again, WINDOW) == [each.uuid for each in batch]
    assert sorted(stored()) == sorted(each.uuid for each in batch)


def test_event_is_stored_once_when_it_comes_from_many_at_the_same_time() -> None:
    start = threading.Barrier(THREADS)

    def send(number: int) -> Sequence[UUID]:
        # Not in one order, so that some might wait for each other.
        names = [str((number * 7 + place) % 20) for place in range(20)]
        batch = [event(name) for name in names]
        start.wait(10)
        firsts = record_first(batch, WINDOW)
        return [first for _, first in sorted(zip(names, firsts, strict=True))]

    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(send, range(THREADS)))
    assert all(answer == answers[0] for answer in answers)
    assert sorted(stored()) == sorted(answers[0])


def test_event_is_stored_once_more_when_many_send_it_as_the_window_has_passed() -> None:
    first = event()
    record_first([first], WINDOW)
    let_pass(WINDOW + 1)
    start = threading.Barrier(THREADS)

    def send(_number: int) -> UUID:
        start.wait(10)
        return record_first([event()], WINDOW)[0]

    with ThreadPoolExecutor(THREADS) as threads:
        firsts = set(threads.map(send, range(THREADS)))
    assert len(firsts) == 1
    assert sorted(stored()) == sorted([first.uuid, *firsts])


def test_event_waits_for_a_concurrent_claim_and_is_a_duplicate_of_it() -> None:
    old = event()
    record_first([old], WINDOW)
    let_pass(WINDOW + 1)
    mine, theirs = event(), event()
    with ThreadPoolExecutor(1) as thread:

        @writing
        def claim_while_another_does() -> Future[list[UUID]]:
            record_first([mine], WINDOW)
            waiting = thread.submit(record_first, [theirs], WINDOW)
            with pytest.raises(TimeoutError):
                waiting.result(0.3)
            return waiting

        assert claim_while_another_does().result(10) == [mine.uuid]
    assert sorted(stored()) == sorted([old.uuid, mine.uuid])


def test_event_is_not_counted_as_stored_when_storing_it_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_arguments: object) -> None:
        raise TooLarge(1)

    with monkeypatch.context() as patch:
        patch.setattr(deduplication, "record_batch", fail)
        with pytest.raises(TooLarge):
            record_first([event()], WINDOW)
    again = event()
    assert record_first([again], WINDOW) == [again.uuid]
    assert stored() == [again.uuid]


def test_forget_leaves_those_whose_window_has_not_passed() -> None:
    record_first([event(str(number)) for number in range(5)], WINDOW)
    let_pass(WINDOW + 1)
    young = event("young")
    record_first([young], WINDOW)
    assert forget(WINDOW, 3) == 3
    assert forget(WINDOW, 1000) == 2
    assert forget(WINDOW, 1000) == 0
    assert record_first([event("young")], WINDOW) == [young.uuid]


@pytest.fixture
def deduplicating(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this process's tasks run in a service that suppresses duplicates."""
    monkeypatch.setenv("RECEIVE_DEDUPLICATE", str(WINDOW))
    tasks.CELERY_APP.close_service()
    yield
    tasks.CELERY_APP.close_service()


@pytest.mark.usefixtures("deduplicating")
def test_sweep_forgets_those_whose_window_has_passed() -> None:
    record_first([event("old")], WINDOW)
    let_pass(WINDOW + 1)
    record_first([event("young")], WINDOW)
    events.purge(stored(), None)  # so that nobody needs to be told of them
    tasks.sweep()
    assert left() == 1


@reading
def left() -> int:
    return FirstEvent.select().count()


def test_batch_is_stored_whole_when_it_is_larger_than_one_statement() -> None:
    batch = [event(str(number), data="x" * 50_000) for number in range(30)]
    events.record_batch(batch)
    assert sorted(stored()) == sorted(each.uuid for each in batch)


@ONLY_MARIADB
def test_batch_is_not_stored_at_all_when_one_of_it_is_too_large() -> None:
    with pytest.raises(TooLarge):
        events.record_batch([event(), event("j", data="x" * 40_000_000)])
    assert stored() == []


def test_events_are_due_when_they_were_stored_in_a_batch() -> None:
    batch = [event(str(number)) for number in range(3)]
    record_first(batch, WINDOW)
    assert sorted(events.due_events(10)) == sorted(each.uuid for each in batch)
    assert all(row <= utcnow() for row in _dues())


@reading
def _dues() -> list[Any]:
    return [row.due for row in EventLog.select(EventLog.due)]
