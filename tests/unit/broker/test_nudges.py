"""The nudger: who has an id never waits, and no id is handed over twice."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.broker.nudges import Nudger
from tests.support.servers import eventually

#: Seconds that a call may take which must not wait for the broker.
SOON = 0.5
#: Seconds for which ids gather where a test does not want the time to end that.
LONG = 60.0


class Broker:
    """Keeps each message that it is handed; may hang, and may fail."""

    def __init__(self) -> None:
        self.messages: list[list[UUID]] = []
        self.times: list[float] = []
        self.began = threading.Event()
        self.answers = threading.Event()
        self.answers.set()
        self.failures = 0

    def __call__(self, ids: Sequence[UUID]) -> None:
        self.began.set()
        assert self.answers.wait(30)
        if self.failures:
            self.failures -= 1
            raise OSError("away")
        self.messages.append(list(ids))
        self.times.append(time.monotonic())

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let no message be handed over within the block."""
        self.answers.clear()
        self.began.clear()
        try:
            yield
        finally:
            self.answers.set()

    def has(self, *messages: list[UUID]) -> bool:
        return self.messages == list(messages)


@pytest.fixture
def broker() -> Broker:
    return Broker()


@contextmanager
def nudging(
    broker: Broker, *, batch: int = 50, gather: float = 0.0, max_waiting: int = 1000
) -> Iterator[Nudger]:
    nudger = Nudger(broker, batch=batch, gather=gather, max_waiting=max_waiting)
    try:
        yield nudger
    finally:
        broker.answers.set()
        nudger.close(5)


def ids(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]


def nudge_all(nudger: Nudger, those: Sequence[UUID]) -> None:
    for each in those:
        nudger.nudge(each)


def test_id_goes_at_once_when_it_comes_alone(broker: Broker) -> None:
    (first,) = ids(1)
    with nudging(broker, gather=LONG) as nudger:
        nudger.nudge(first)
        eventually(lambda: broker.has([first]), SOON)


def test_ids_go_in_one_message_when_they_come_while_another_is_under_way(broker: Broker) -> None:
    first, *others = ids(20)
    with nudging(broker) as nudger:
        with broker.hanging():
            nudger.nudge(first)
            assert broker.began.wait(5)
            nudge_all(nudger, others)
        eventually(lambda: broker.has([first], others), SOON)


def test_ids_gather_after_a_message_until_the_time_is_over(broker: Broker) -> None:
    first, second, third = ids(3)
    with nudging(broker, gather=0.3) as nudger:
        nudger.nudge(first)
        eventually(lambda: broker.has([first]), SOON)
        nudger.nudge(second)
        nudger.nudge(third)
        eventually(lambda: broker.has([first], [second, third]), 5)
    assert broker.times[1] - broker.times[0] >= 0.3


def test_ids_do_not_gather_longer_when_they_are_a_batch(broker: Broker) -> None:
    first, *others = ids(4)
    with nudging(broker, batch=3, gather=LONG) as nudger:
        nudger.nudge(first)
        eventually(lambda: broker.has([first]), SOON)
        nudge_all(nudger, others)
        eventually(lambda: broker.has([first], others), SOON)


def test_message_has_a_batch_at_most_when_more_have_come(broker: Broker) -> None:
    first, *others = ids(8)
    with nudging(broker, batch=3) as nudger:
        with broker.hanging():
            nudger.nudge(first)
            assert broker.began.wait(5)
            nudge_all(nudger, others)
        eventually(lambda: broker.has([first], others[:3], others[3:6], others[6:]), SOON)


def test_nobody_waits_and_ids_past_the_bound_are_dropped_when_the_broker_hangs(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = ids(200)
    with nudging(broker, max_waiting=10) as nudger:
        with broker.hanging():
            nudger.nudge(first)
            assert broker.began.wait(5)
            began = time.monotonic()
            nudge_all(nudger, others)
            assert time.monotonic() - began < SOON
        eventually(lambda: broker.has([first], others[:10]), SOON)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        later = uuid4()
        nudger.nudge(later)
        eventually(lambda: broker.messages[-1] == [later], SOON)


def test_ids_go_on_when_a_message_could_not_be_handed_over(broker: Broker) -> None:
    lost, later = ids(2)
    broker.failures = 1
    with nudging(broker) as nudger:
        nudger.nudge(lost)
        eventually(lambda: not broker.failures, SOON)
        nudger.nudge(later)
        eventually(lambda: broker.has([later]), SOON)


def test_ids_that_gather_are_handed_over_when_it_is_closed(broker: Broker) -> None:
    first, *others = ids(6)
    with nudging(broker, gather=LONG) as nudger:
        nudger.nudge(first)
        eventually(lambda: broker.has([first]), SOON)
        nudge_all(nudger, others)
        nudger.close(5)
        assert broker.has([first], others)


def test_closing_ends_in_time_when_the_broker_hangs(broker: Broker) -> None:
    with nudging(broker) as nudger, broker.hanging():
        nudger.nudge(uuid4())
        assert broker.began.wait(5)
        began = time.monotonic()
        nudger.close(0.1)
        assert time.monotonic() - began < SOON


def test_id_is_left_to_the_sweep_when_it_comes_after_the_end(broker: Broker) -> None:
    with nudging(broker) as nudger:
        nudger.close(5)
        nudger.nudge(uuid4())
        nudger.close(5)
        assert broker.messages == []


def test_every_id_goes_once_and_few_messages_are_needed_when_many_threads_have_some(
    broker: Broker,
) -> None:
    shares = [ids(500) for _ in range(8)]
    with nudging(broker, gather=0.02, max_waiting=10_000) as nudger:
        with ThreadPoolExecutor(len(shares)) as threads:
            list(threads.map(lambda share: nudge_all(nudger, share), shares))
        nudger.close(5)
    sent = [each for message in broker.messages for each in message]
    assert sorted(sent) == sorted(each for share in shares for each in share)
    assert all(len(message) <= 50 for message in broker.messages)
    assert len(broker.messages) < len(sent) / 10
    for share in shares:
        assert [each for each in sent if each in set(share)] == share
