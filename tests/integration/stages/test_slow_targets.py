"""Targets that are slow or hang, and workers beside each other."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import EventLogMatch, reading
from tests.integration.stages.flow import (
    Flow,
    answering,
    attempts_of,
    due_of,
    make_due,
    match_of,
    matches,
    row,
)
from tests.support.configured import changed
from tests.support.servers import (
    AnswerTriple,
    RawServer,
    Received,
    RecordingServer,
    eventually,
    hanging,
)

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


def test_hanging_target_does_not_delay_another_ones_delivery(
    make_flow: Callable[..., Flow], other_target: RecordingServer
) -> None:
    flow = make_flow(delivery_timeout=5.0, delivery_connections_per_host=2)
    with RawServer(hanging) as hung:
        for _ in range(5):
            flow.subscribe(target_url=hung.url)
        flow.subscribe(target_url=other_target.url)
        began = time.monotonic()
        flow.hand_over()
        assert other_target.wait_for(1)
        event = flow.hand_over()
        assert len(other_target.wait_for(2)) == 2
        assert time.monotonic() - began < 1
        eventually(lambda: {m.state for m in matches(event)} == {"delivered", "allowed"})


def test_answer_is_recorded_when_it_comes_and_nobody_waits_for_it(flow: Flow) -> None:
    def late(_received: Received) -> AnswerTriple:
        flow.target.over.wait(0.6)
        return 200, {}, b"late"

    flow.target.answer = late
    flow.subscribe()
    event = flow.hand_over()
    assert match_of(event).state == "allowed"
    eventually(lambda: match_of(event).state == "delivered")
    assert match_of(event).target_body == "late"


def test_close_waits_for_answers_that_are_late(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow()

    def late(_received: Received) -> AnswerTriple:
        flow.target.over.wait(0.6)
        return 404, {}, b"late"

    flow.target.answer = late
    subscription = flow.subscribe()
    event = flow.hand_over()
    flow.close()
    assert match_of(event).state == "held"
    assert row(subscription).disabled is not None


def test_answer_that_a_worker_did_not_wait_for_at_its_end_is_no_attempt(
    make_flow: Callable[..., Flow],
) -> None:
    ending, flow = make_flow(delivery_attempts=1), make_flow(delivery_attempts=1)
    ending.target.answer = lambda _received: (200, {}, str(ending.target.over.wait(10)).encode())
    subscription = ending.subscribe()
    event = ending.hand_over()
    ending.target.wait_for(1)
    ending.app.settings = changed(ending.settings, delivery_timeout=0.0)
    ending.close()
    assert match_of(event).target_body == "transport closed"
    assert row(subscription).disabled is None
    assert attempts_of(event) == 0
    flow.target.answer = answering(200)
    flow.go_on(event)
    assert match_of(event).state == "delivered"


def test_target_with_more_deliveries_than_can_wait_is_not_disabled_for_it(
    make_flow: Callable[..., Flow], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = make_flow(delivery_attempts=1, delivery_connections_per_host=1, delivery_batch_wait=0.0)
    transport = flow.pipeline.deliverer._transport
    monkeypatch.setattr(transport, "_limits", replace(transport._limits, queue=1))

    def slow(_received: Received) -> AnswerTriple:
        flow.target.over.wait(0.05)
        return 200, {}, b""

    flow.target.answer = slow
    for _ in range(6):
        flow.subscribe()
    event = flow.hand_over()

    def all_delivered() -> bool:
        flow.deliver([match.uuid for match in matches(event)])
        make_due()
        return {match.state for match in matches(event)} == {"delivered"}

    eventually(all_delivered)
    assert len(flow.target.requests) == 6


def test_slow_target_gets_nothing_twice_when_deliveries_wait_longer_than_their_lease(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(
        celery_lease=0.8,
        delivery_busy_wait=0.05,
        delivery_connect_timeout=0.1,
        delivery_timeout=0.3,
        delivery_connections_per_host=1,
        delivery_batch_wait=0.05,
    )

    def slow(_received: Received) -> AnswerTriple:
        flow.target.over.wait(0.15)
        return 200, {}, b""

    flow.target.answer = slow
    for _ in range(10):
        flow.subscribe()
    event = flow.hand_over()

    def all_delivered() -> bool:
        flow.pipeline.deliverer.deliver([match.uuid for match in matches(event)])
        return {match.state for match in matches(event)} == {"delivered"}

    eventually(all_delivered, timeout=10)
    assert len(flow.target.requests) == 10


def test_worker_gives_up_what_waits_for_its_turn_before_another_one_may_take_it(
    make_flow: Callable[..., Flow],
) -> None:
    short = {
        "celery_lease": 1.5,
        "delivery_connect_timeout": 0.1,
        "delivery_timeout": 1.0,
        "delivery_connections_per_host": 1,
        "delivery_busy_wait": 0.05,
    }
    first, second = make_flow(**short), make_flow(**short)

    def slow(_received: Received) -> AnswerTriple:
        first.target.over.wait(0.2)
        return 200, {}, b""

    first.target.answer = slow
    for _ in range(8):
        first.subscribe()
    event = first.hand_over()

    def all_delivered() -> bool:
        second.pipeline.deliverer.deliver([match.uuid for match in matches(event)])
        return {match.state for match in matches(event)} == {"delivered"}

    eventually(all_delivered, timeout=15)
    assert len(first.target.requests) == 8


def test_two_workers_deliver_what_there_is_once(make_flow: Callable[..., Flow]) -> None:
    first, second = make_flow(celery_event_batch=8), make_flow(celery_event_batch=8)
    first.subscribe()
    ids = [first.receive() for _ in range(20)]
    for flow in (first, second, first):
        flow.run()
    assert [match_of(event).state for event in ids] == ["delivered"] * 20
    assert len(first.target.requests) == 20


@pytest.mark.parametrize("bound", [{"delivery_unfinished": 3}, {"delivery_unfinished_bytes": 500}])
def test_deliveries_wait_untried_when_too_much_is_under_way(
    make_flow: Callable[..., Flow], bound: dict[str, int]
) -> None:
    flow = make_flow(delivery_attempts=1, delivery_batch_wait=0.1, delivery_busy_wait=0, **bound)
    answered = threading.Event()
    flow.target.answer = lambda _received: (200, {}, str(answered.wait(10)).encode())
    for number in range(6):
        flow.subscribe(extensions={"number": number})
    event = flow.hand_over()
    eventually(lambda: [attempts for _, attempts in tries_of(event)].count(0) >= 3)
    assert {row(match.subscription).disabled for match in matches(event)} == {None}
    assert len(flow.target.requests) < 6

    answered.set()

    def all_delivered() -> bool:
        flow.deliver([match.uuid for match in matches(event)])
        return {match.state for match in matches(event)} == {"delivered"}

    eventually(all_delivered)
    assert len(flow.target.requests) == 6


def test_nothing_is_taken_when_no_more_may_be_under_way(make_flow: Callable[..., Flow]) -> None:
    flow = make_flow(delivery_batch_wait=0.1, delivery_unfinished=1)
    flow.target.answer = lambda _received: (200, {}, str(flow.target.over.wait(10)).encode())
    flow.subscribe()
    flow.hand_over()
    event = flow.hand_over()
    assert (match_of(event).state, attempts_of(event)) == ("allowed", 0)
    due = due_of(match_of(event))
    assert due is not None
    assert due <= utcnow()


@reading
def tries_of(event: UUID) -> list[tuple[UUID, int]]:
    rows = EventLogMatch.select().where(EventLogMatch.event_log == event)
    return [(match.uuid, match.attempts) for match in rows]
