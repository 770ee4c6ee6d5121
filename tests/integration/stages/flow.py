"""The stages of one worker, with what tests do to them and ask of the record."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pacifica.notifications.app import App
from pacifica.notifications.clock import utcnow
from pacifica.notifications.config import load_settings
from pacifica.notifications.events import parse_event
from pacifica.notifications.flow import Outcome
from pacifica.notifications.orm import EventLogMatch, EventMatch, reading, writing
from pacifica.notifications.settings import Settings
from pacifica.notifications.stages.record import Recorder
from pacifica.notifications.store import events, subscriptions
from pacifica.notifications.store.events import LoggedMatch
from pacifica.notifications.store.holding import due_held
from pacifica.notifications.subscriptions import new_subscription
from tests.support.configured import changed
from tests.support.servers import (
    AnswerTriple,
    Received,
    RecordingServer,
    eventually,
)
from tests.support.stored import release_or_probe

#: Seconds within which what a test sends has its answer on record.
ANSWERS = 15.0
EVENT = {
    "cloudEventsVersion": "0.1",
    "eventType": "org.pacifica.metadata.ingest",
    "source": "http://metadata.pacifica.org/transactions?_id=1234",
    "eventID": "metadata.ingest.1234",
    "eventTime": "2026-01-31T12:00:00",
    "extensions": {"color": "red", "kept": 1},
    "contentType": "application/json",
    "data": [{"destinationTable": "Transactions._id", "value": 1234}],
}


class CountingRecorder(Recorder):
    """A recorder that tells how many outcomes are not recorded, nor given up."""

    def __init__(self) -> None:
        super().__init__()
        self._counting = threading.Lock()
        self.unrecorded = 0

    def put(self, outcome: Outcome) -> None:
        """Count an outcome before it can be recorded."""
        with self._counting:
            self.unrecorded += 1
        super().put(outcome)

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        super()._record(outcomes)
        with self._counting:
            self.unrecorded -= len(outcomes)


class Flow:
    """The stages of one worker, with a Policy and a target that a test can speak for."""

    def __init__(self, settings: Settings, policy: RecordingServer, target: RecordingServer):
        self.settings = settings
        self.policy = policy
        self.target = target
        self.app = App(settings)
        self.pipeline = self.app.pipeline
        self.recorder = self.pipeline.deliverer._recorder = CountingRecorder()

    def subscribe(self, user: str = "alice", jsonpath: str = "$.data", **body: Any) -> UUID:
        body = {"name": "n", "jsonpath": jsonpath, "target_url": self.target.url, **body}
        return UUID(subscriptions.create(new_subscription(body, user, 4096))["uuid"])

    def receive(self, document: Any = EVENT) -> UUID:
        event = parse_event(json.dumps(document).encode(), 100)
        events.record_all([event])
        return event.uuid

    def close(self) -> None:
        self.app.close()

    def run(self) -> None:
        """Take the events that are due all the way, as far as it goes at the first try."""
        assert self.pipeline.dispatch() == []
        self.match_deferred()
        self.settle()

    def settle(self) -> None:
        """Wait until everything that was sent has its result on record, or is given up."""
        in_flight = self.pipeline.deliverer._in_flight
        everything = self.settings.delivery.unfinished
        eventually(lambda: in_flight.wait_free(ANSWERS) == everything, ANSWERS)
        eventually(lambda: not self.recorder.unrecorded, ANSWERS)

    def match_deferred(self) -> None:
        """Match events with all that was left for later."""
        while self.pipeline.match_deferred():
            pass

    def authorise(self, ids: list[UUID]) -> list[UUID]:
        return self.pipeline.authoriser.authorise(ids)

    def deliver(self, deliveries: list[UUID]) -> None:
        """Send deliveries, and wait until what came of them is on record."""
        self.pipeline.deliverer.deliver(deliveries)
        self.settle()

    def send(self) -> UUID:
        """Receive one event and take it all the way."""
        event = self.receive()
        self.run()
        return event

    def hand_over(self) -> UUID:
        """Receive one event and send what it leads to, without waiting for any answer."""
        event = self.receive()
        self.pipeline.dispatch()
        return event

    def changing(self, subscription: UUID, **changes: Any) -> Callable[[Received], AnswerTriple]:
        """Answer 200 once a subscription was changed by its owner, or deleted without changes."""

        def answer(_received: Received) -> AnswerTriple:
            if changes:
                subscriptions.update("alice", subscription, lambda _stored: changes)
            else:
                subscriptions.delete("alice", subscription)
            return 200, {}, b""

        return answer

    def go_on(self, event: UUID) -> None:
        """Take up what an event has still to do, as if its time had come."""
        make_due()
        self.deliver(self.authorise([event]) or [match.uuid for match in matches(event)])


@writing
def make_due(later: timedelta = timedelta(0)) -> None:
    """Let the time of what is to do come, now or later."""
    due = utcnow() + later
    EventLogMatch.update(due=due).where(EventLogMatch.due.is_null(False)).execute()


@writing
def change_row(subscription: UUID, **columns: Any) -> None:
    """Write into a subscription's row what the API would refuse, as older versions did."""
    EventMatch.update(**columns).where(EventMatch.uuid == subscription).execute()


@reading
def row(subscription: UUID) -> EventMatch:
    return EventMatch.get_by_id(subscription)


@reading
def due_of(match: LoggedMatch) -> datetime | None:
    """Return when a delivery is taken up again; None where nothing is to do."""
    return EventLogMatch.get_by_id(match.uuid).due


@contextmanager
def due_within(event: UUID, shortest: float, longest: float) -> Iterator[None]:
    """Require that the block leaves an event's only delivery waiting for so many seconds."""
    began = utcnow()
    yield
    due = due_of(match_of(event))
    assert due is not None
    assert began + timedelta(seconds=shortest) <= due <= utcnow() + timedelta(seconds=longest)


def matches(event: UUID) -> tuple[LoggedMatch, ...]:
    return events.logged([event], start=None, end=None, limit=1)[0].matches


def match_of(event: UUID) -> LoggedMatch:
    (match,) = matches(event)
    return match


def state_of(event: UUID, subscription: UUID) -> str:
    return next(m.state for m in matches(event) if m.subscription == subscription)


def enable(subscription: UUID, user: str = "alice") -> None:
    enabled = {"disabled": None, "error": None}
    assert subscriptions.update(user, subscription, lambda _stored: enabled)
    release_held()


def release_held(**changes: Any) -> None:
    """Release or probe what is held and due, as the sweep does."""
    for subscription in due_held(100):
        release_or_probe(subscription, changed(load_settings(), **changes))


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[[Received], AnswerTriple]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _received: (status, named, body)


def policy_of_users(
    status: int, user_status: int, body: bytes = b"{}"
) -> Callable[[Received], AnswerTriple]:
    """Answer one status to the question about an event, another to the one about the user."""
    return lambda received: (status if received.method == "POST" else user_status, {}, body)


@reading
def attempts_of(event: UUID) -> int:
    return EventLogMatch.get(EventLogMatch.event_log == event).attempts


@reading
def failing_since(event: UUID) -> datetime:
    return EventLogMatch.get(EventLogMatch.event_log == event).failing
