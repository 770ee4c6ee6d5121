"""Events of Metadata go on once it shows what they tell of; what it says is a test's to say."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.events import parse_event
from pacifica.notifications.orm import EventLog, reading, writing
from pacifica.notifications.store import events
from pacifica.notifications.store.claims import take_lock
from pacifica.notifications.store.monitoring import snapshot
from tests.integration.stages.flow import EVENT, Flow, answering, match_of, matches
from tests.support.servers import RawServer, Received, RecordingServer, free_port, hanging

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

CAPTURES = Path(__file__).parents[2] / "captures"
ABSENT, SHOWN, BROKEN = answering(404), answering(200, b'{"_id": 1234}'), answering(500)


@pytest.fixture
def metadata() -> Iterator[RecordingServer]:
    with RecordingServer(ABSENT) as server:
        yield server


class SettlingFlow:
    """A worker's stages whose events wait for Metadata; a test lets time pass."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def receive(self, document: Any = EVENT) -> UUID:
        event = parse_event(json.dumps(document).encode(), 100)
        self.flow.app.group_commit.store(event)
        return event.uuid

    def settle(self, *, after: float = 0.0) -> list[UUID]:
        """Ask about all events, which are older by so many seconds; take on what may go on."""
        pass_time(after)
        going_on = self.flow.app.settler.settle()
        self.flow.run()
        return going_on


@pytest.fixture
def settling(make_flow: Callable[..., Flow], metadata: RecordingServer) -> SettlingFlow:
    return SettlingFlow(make_flow(settle_metadata_url=metadata.url, settle_timeout=0.5))


@writing
def pass_time(seconds: float) -> None:
    """Make events older, and let the time of the next question come."""
    for row in EventLog.select():
        row.created -= timedelta(seconds=seconds)
        row.settle_due = row.settle_due and utcnow()
        row.save(only=("created", "settle_due"))


@reading
def row(event: UUID) -> Any:
    return EventLog.get_by_id(event)


def settlement(event: UUID) -> str:
    return row(event).settlement


def test_event_is_delivered_once_metadata_shows_it(
    settling: SettlingFlow, metadata: RecordingServer
) -> None:
    settling.flow.subscribe()
    event = settling.receive()
    settling.flow.run()
    assert matches(event) == ()
    assert settling.settle(after=0.05) == []
    assert (settlement(event), matches(event)) == ("settling", ())
    metadata.answer = SHOWN
    assert settling.settle(after=0.1) == [event]
    assert match_of(event).state == "delivered"
    assert (settlement(event), row(event).settle_due) == ("settled", None)
    assert row(event).settled is not None
    assert [each.path for each in metadata.requests] == ["/transactioninfo/by_id/1234"] * 2
    (delivered,) = settling.flow.target.requests
    assert "pacificasettled" not in json.loads(delivered.body)["extensions"]


def test_event_is_not_asked_about_before_its_time(
    settling: SettlingFlow, metadata: RecordingServer
) -> None:
    event = settling.receive()
    before = row(event)
    assert timedelta(0) < before.settle_due - before.created <= timedelta(seconds=0.05)
    settling.settle()
    assert len(metadata.requests) == 1
    assert settling.flow.app.settler.settle() == []
    assert len(metadata.requests) == 1
    seconds = settling.flow.app.settler.seconds_to_next()
    assert seconds is not None
    assert 0 < seconds <= 0.2


def test_event_of_a_rollback_is_unsettled_then_expires_and_is_never_delivered(
    settling: SettlingFlow, metadata: RecordingServer, caplog: pytest.LogCaptureFixture
) -> None:
    settling.flow.subscribe()
    event = settling.receive()
    settling.settle(after=30)
    settling.settle(after=30)
    assert settlement(event) == "unsettled"
    assert "1 events are unsettled" in caplog.text
    wait = (row(event).settle_due - utcnow()).total_seconds()
    assert 3500 < wait <= 3600
    metadata.answer = BROKEN
    settling.settle(after=3600)
    assert settlement(event) == "unsettled"
    metadata.answer = ABSENT
    for _hour in range(23):
        settling.settle(after=3600)
    assert (settlement(event), row(event).settle_due) == ("expired", None)
    assert "1 events expired" in caplog.text
    settling.settle(after=3600)
    assert len(metadata.requests) == 26
    assert matches(event) == ()
    assert settling.flow.target.requests == []


def test_unsettled_event_is_delivered_when_metadata_shows_it_after_all(
    settling: SettlingFlow, metadata: RecordingServer
) -> None:
    settling.flow.subscribe()
    event = settling.receive()
    settling.settle(after=70)
    assert settlement(event) == "unsettled"
    metadata.answer = SHOWN
    settling.settle(after=3600)
    assert match_of(event).state == "delivered"


@pytest.mark.parametrize("version", ["0.1", "1.0", ""])
@pytest.mark.parametrize("away", ["answers 500", "hangs", "is not there"])
def test_event_goes_on_and_says_unknown_when_metadata_is_away(
    make_flow: Callable[..., Flow], away: str, version: str
) -> None:
    documents: dict[str, dict[str, Any]] = {
        "0.1": EVENT,
        "1.0": {
            "specversion": "1.0",
            "id": "1",
            "source": "/s",
            "type": "org.pacifica.metadata.ingest",
            "data": EVENT["data"],
        },
        "": {"type": "org.pacifica.metadata.ingest", "data": EVENT["data"]},
    }
    with RecordingServer(BROKEN) as broken, RawServer(hanging) as hangs:
        urls = {"answers 500": broken.url, "hangs": hangs.url}
        url = urls.get(away, f"http://127.0.0.1:{free_port()}")
        settling = SettlingFlow(make_flow(settle_metadata_url=url, settle_timeout=0.3))
        settling.flow.subscribe()
        event = settling.receive(documents[version])
        settling.settle(after=0.1)
        assert (settlement(event), matches(event)) == ("unanswered", ())
        settling.settle(after=1)
    assert settlement(event) == "unknown"
    assert match_of(event).state == "delivered"
    (delivered,) = settling.flow.target.requests
    sent = json.loads(delivered.body)
    own = sent if version == "1.0" else sent["extensions"]
    assert own["pacificasettled"] == "unknown"
    assert sent["data"] == EVENT["data"]
    if version == "0.1":
        assert own == {**EVENT["extensions"], "pacificasettled": "unknown"}  # type: ignore[dict-item]


def test_one_question_without_an_answer_lets_no_event_go_on(
    settling: SettlingFlow, metadata: RecordingServer
) -> None:
    event = settling.receive()
    for answer in (ABSENT, BROKEN, ABSENT, BROKEN):
        metadata.answer = answer
        assert settling.settle(after=3) == []
    assert settlement(event) == "unanswered"


def test_nothing_is_asked_for_a_while_after_metadata_was_away_twice(
    settling: SettlingFlow, metadata: RecordingServer
) -> None:
    metadata.answer = BROKEN
    settling.receive()
    for _ in range(4):
        settling.settle(after=0.1)
    assert len(metadata.requests) == 2
    metadata.answer = SHOWN
    event = settling.receive()
    settling.settle(after=2)
    settling.settle(after=2)
    assert settlement(event) == "unknown"
    assert len(metadata.requests) == 2


def test_all_events_are_asked_about_at_once_and_each_question_once(
    settling: SettlingFlow, metadata: RecordingServer
) -> None:
    def shown_if_even(received: Received) -> tuple[int, dict[str, str], bytes]:
        number = int(received.path.rpartition("/")[2])
        return 404 if number % 2 else 200, {}, b"{}"

    metadata.answer = shown_if_even

    def ingest(number: int) -> Any:
        return {**EVENT, "data": [{"destinationTable": "Transactions._id", "value": number}]}

    uuids = [settling.receive(ingest(number)) for number in range(20)]
    twice = settling.receive(ingest(0))
    going_on = settling.settle(after=0.1)
    assert set(going_on) == {*uuids[::2], twice}
    assert len(metadata.requests) == 20
    assert metadata.connections <= 8


@pytest.mark.parametrize(
    ("capture", "body", "settled"),
    [
        ("orm-users", b"[]", "settling"),
        ("orm-users", b'[{"_id": 4711}]', "settled"),
        ("orm-composite-key", b'[{"user": 11}]', "settled"),
    ],
)
def test_object_that_the_orm_inserted_is_shown_when_the_list_has_it(
    settling: SettlingFlow, metadata: RecordingServer, capture: str, body: bytes, settled: str
) -> None:
    metadata.answer = answering(200, body)
    event = settling.receive(json.loads((CAPTURES / f"{capture}.json").read_text()))
    settling.settle(after=0.1)
    assert settlement(event) == settled
    (asked,) = metadata.requests
    assert asked.headers["Content-Type"] == "application/json"


def test_other_events_of_metadata_wait_for_a_second_and_nothing_is_asked(
    settling: SettlingFlow, metadata: RecordingServer
) -> None:
    settling.flow.subscribe()
    event = settling.receive(json.loads((CAPTURES / "doientry.json").read_text()))
    settling.settle(after=0.1)
    assert (settlement(event), matches(event)) == ("settling", ())
    settling.settle(after=1)
    assert match_of(event).state == "delivered"
    assert metadata.requests == []


def test_events_of_others_do_not_wait(settling: SettlingFlow, metadata: RecordingServer) -> None:
    settling.flow.subscribe()
    event = settling.receive({**EVENT, "eventType": "org.example.created"})
    settling.flow.run()
    assert (match_of(event).state, settlement(event)) == ("delivered", None)
    assert metadata.requests == []


def test_events_are_stored_without_any_wait_when_the_feature_is_off(flow: Flow) -> None:
    flow.subscribe()
    settling = SettlingFlow(flow)
    event = settling.receive()
    flow.run()
    assert match_of(event).state == "delivered"
    found = row(event)
    assert (found.settlement, found.settle_due, found.settled) == (None, None, None)


def test_one_process_at_a_time_asks(settling: SettlingFlow, metadata: RecordingServer) -> None:
    settling.receive()
    assert take_lock("settle", 60)
    assert settling.settle(after=1) == []
    assert metadata.requests == []


def test_event_is_asked_about_again_when_its_worker_was_killed_while_it_waited(
    settling: SettlingFlow, metadata: RecordingServer
) -> None:
    event = settling.receive()
    lease = settling.flow.settings.settle.lease
    pass_time(1)
    events_claimed = claimed(lease)
    assert events_claimed == [event]
    metadata.answer = SHOWN
    assert settling.flow.app.settler.settle() == []
    assert (row(event).settle_due - utcnow()).total_seconds() <= lease
    assert settling.settle(after=lease) == [event]


def claimed(lease: float) -> list[UUID]:
    from pacifica.notifications.store.settling import claim_settling

    return [each.uuid for each in claim_settling(10, 2**20, lease)]


def test_events_that_wait_go_on_as_unknown_when_the_feature_is_switched_off(
    settling: SettlingFlow, metadata: RecordingServer
) -> None:
    settling.flow.subscribe()
    unsettled = settling.receive()
    settling.settle(after=70)
    waiting = settling.receive()
    assert settling.flow.app.settler.stop(100) == [waiting]
    settling.flow.run()
    assert match_of(waiting).state == "delivered"
    assert settlement(waiting) == "unknown"
    assert settlement(unsettled) == "unsettled"
    pass_time(86400)
    assert settling.flow.app.settler.stop(100) == []
    assert settlement(unsettled) == "expired"
    assert len(metadata.requests) == 1


@pytest.mark.parametrize("age", [1, 70])
def test_operator_can_have_an_event_dispatched_that_metadata_does_not_show(
    settling: SettlingFlow, age: float
) -> None:
    settling.flow.subscribe()
    event = settling.receive()
    settling.settle(after=age)
    assert events.dispatch_again([event]) == [event]
    settling.flow.run()
    assert match_of(event).state == "delivered"
    assert (settlement(event), row(event).settle_due) == ("retried", None)


def test_events_that_wait_for_metadata_are_counted_apart(settling: SettlingFlow) -> None:
    settling.receive()
    settling.settle(after=70)
    settling.receive()
    found = snapshot()
    assert found.events_settling == {"settling": 1, "unsettled": 1}
    assert (found.events_waiting, found.oldest_event) == (0, 0.0)
