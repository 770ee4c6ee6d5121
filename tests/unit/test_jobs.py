"""What jobs work out by themselves: what counts, what is asked, and what is told of it."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.events import Event
from pacifica.notifications.rest.jobs import state_shown
from pacifica.notifications.stages import backtest, walk
from pacifica.notifications.stages.backtest import BacktestProgress, Counts
from pacifica.notifications.stages.expressions import Expressions
from pacifica.notifications.stages.period import Period
from pacifica.notifications.stages.replay import ReplayProgress, former_jsonpath
from pacifica.notifications.stages.walk import Found
from pacifica.notifications.store.jobs import JobKind, JobState, StoredJob
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.replaying import FormerJsonpath
from pacifica.notifications.store.walking import Walked

START = datetime(2026, 11, 24, 23, 59, 50)
MATCHED = Counts(matched=1)


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no slice end because the machine is busy."""
    monkeypatch.setattr(walk, "_SLICE", 60.0)


def walked(number: int, text: str = "{}", revision: int | None = None) -> Walked:
    """Return an event, one second after the one before."""
    event = Event(UUID(int=number), text)
    return Walked(Position(START + timedelta(seconds=number), event.uuid), event, revision)


def found(numbers: Sequence[int], counts: Counts = MATCHED) -> list[Found[Counts]]:
    return [Found(walked(number), counts) for number in numbers]


def reading(events: Sequence[Walked], portion: int = 3) -> Callable[[Any], Sequence[Walked]]:
    """Return what reads events some at a time."""

    def read(after: Position | None) -> Sequence[Walked]:
        return [each for each in events if after is None or each.position > after][:portion]

    return read


class Asked:
    """Stands for Policy, which allows some events, and keeps what it was asked."""

    def __init__(self, *allowed: int) -> None:
        self.allowed = {UUID(int=number) for number in allowed}
        self.questions: list[list[int]] = []

    def allowed_soon(self, _user: str, events: Sequence[Event], _seconds: float) -> set[UUID]:
        self.questions.append([each.uuid.int for each in events])
        return {each.uuid for each in events} & self.allowed


def test_counts_are_added_up_by_day_with_the_newest_examples() -> None:
    progress = BacktestProgress(position=Position(START, UUID(int=99)))
    both = Counts(matched=1, gained=1)
    counted = progress.counting(found(range(8))).counting(found(range(8, 25), both))
    assert counted.total == Counts(matched=25, gained=17)
    assert counted.days == {"2026-11-24": Counts(10, 2), "2026-11-25": Counts(15, 15)}
    assert [each.event.int for each in counted.examples] == list(range(5, 25))
    assert (counted.stopped, counted.position) == ("", progress.position)
    assert BacktestProgress.read(counted.written()) == counted


def test_a_backtest_stops_at_the_last_event_that_counts_and_no_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backtest, "MAX_COUNTED", 3)
    end = Position(START + timedelta(hours=1), uuid4())
    counted = BacktestProgress(position=end).counting(found([1]))
    assert (counted.stopped, counted.position) == ("", end)
    full = counted.counting(found([2, 3, 4]))
    assert (full.stopped, full.counted, full.position) == ("matches", 3, walked(3).position)
    assert full.total == Counts(matched=3)


def test_progress_of_a_replay_is_read_as_it_was_written() -> None:
    progress = ReplayProgress(walked(1).position, 7, 5, "events", "policy")
    assert ReplayProgress.read(progress.written()) == progress
    assert ReplayProgress.read({}) == ReplayProgress()
    assert BacktestProgress.read({}) == BacktestProgress()


def test_each_event_is_looked_at_once_and_in_order() -> None:
    events = [walked(number) for number in range(10)]
    result = walk.walk(reading(events), lambda each: each.event.uuid.int % 2 or None, None, 100)
    assert [each.walked.event.uuid.int for each in result.found] == [1, 3, 5, 7, 9]
    assert (result.looked, result.position, result.is_over) == (10, events[-1].position, True)


@pytest.mark.parametrize(("max_looked", "is_over"), [(4, False), (10, True), (11, True)])
def test_no_more_events_are_looked_at_than_allowed(max_looked: int, *, is_over: bool) -> None:
    events = [walked(number) for number in range(10)]
    result = walk.walk(reading(events), lambda _: None, None, max_looked)
    assert (result.looked, result.is_over) == (min(max_looked, 10), is_over)


def test_a_slice_ends_when_it_has_found_much_or_taken_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [walked(number, "x" * 10) for number in range(200)]
    result = walk.walk(reading(events), lambda _: True, None, 1000)
    assert (len(result.found), result.is_over) == (walk.MAX_FOUND, False)
    assert result.position == events[walk.MAX_FOUND - 1].position
    monkeypatch.setattr(walk, "_MAX_BYTES", 25)
    assert len(walk.walk(reading(events), lambda _: True, None, 1000).found) == 3
    monkeypatch.setattr(walk, "_SLICE", -1.0)
    assert walk.walk(reading(events), lambda _: None, None, 1000).looked == 1


@pytest.mark.parametrize("matching", [set(), {0}, {150}, {0, 1}, set(range(0, 250, 50))])
def test_policy_is_asked_as_much_about_few_matches_as_about_none(matching: set[int]) -> None:
    events = [walked(number) for number in range(250)]
    result = walk.walk(
        reading(events), lambda each: True if each.event.uuid.int in matching else None, None, 250
    )
    asked: Any = Asked(0)
    may_see = walk.allowed(asked, "alice", result)
    assert [each.walked.event.uuid.int for each in may_see] == sorted(matching & {0})
    (questions,) = asked.questions
    assert len(questions) == max(3, len(matching))
    assert matching <= set(questions)


def test_a_former_jsonpath_is_that_of_the_events_revision_or_else_of_its_time() -> None:
    former = [
        FormerJsonpath(9, START + timedelta(seconds=30), "", is_deleted=True),
        FormerJsonpath(7, START + timedelta(seconds=20), "second", is_deleted=False),
        FormerJsonpath(3, START + timedelta(seconds=10), "first", is_deleted=False),
    ]
    by_revision = [former_jsonpath(former, walked(0, revision=each)) for each in (2, 3, 6, 7, 9)]
    assert by_revision == [None, "first", "first", "second", None]
    by_time = [former_jsonpath(former, walked(each)) for each in (9, 10, 20, 30)]
    assert by_time == [None, "first", "second", None]


def test_expressions_match_as_live_ones_and_tell_a_failure_from_a_miss() -> None:
    expressions = Expressions(1000, 4096)
    event = Event(uuid4(), '{"data": {"a": 1}}')
    assert expressions.match(event, ["$.data.a", "$.data.b", "$..[", "$.data[?(@ < 1)]"])[:3] == [
        True,
        False,
        False,
    ]
    assert expressions.match(Event(uuid4(), '{"cut'), ["$.data"]) == [False]
    large = Event(uuid4(), json.dumps({"data": [[0]] * 200}))
    costly = "$..*[?(@..* = 1 and @..* = 2)]..*"
    assert Expressions(1, 4096).match(large, [costly])[0] in (None, False)


def shown(state: JobState, position: Position | None, stopped: str = "") -> dict[str, Any]:
    job = StoredJob(uuid4(), JobKind.REPLAY, "alice", uuid4(), state, START, None, {}, {})
    period = Period(START, START + timedelta(seconds=20))
    return state_shown(job, period, position, stopped, "policy")


@pytest.mark.parametrize(
    ("state", "second", "stopped", "covered", "progress"),
    [
        (JobState.RUNNING, None, "", 0, 0.0),
        (JobState.RUNNING, 5.75, "", 5, 0.25),
        (JobState.FINISHED, 5.75, "events", 5, 0.25),
        (JobState.FINISHED, 5.75, "", 20, 1.0),
        (JobState.CANCELLED, 0.5, "", 0, 0.0),
    ],
)
def test_what_is_covered_is_told_in_whole_seconds(
    state: JobState, second: float | None, stopped: str, covered: int, progress: float
) -> None:
    position = None if second is None else Position(START + timedelta(seconds=second), uuid4())
    answer = shown(state, position, stopped)
    expected = (START + timedelta(seconds=covered)).isoformat(timespec="milliseconds") + "Z"
    assert (answer["covered_until"], answer["progress"]) == (expected, progress)
    assert answer["waits_for"] == ("policy" if state is JobState.RUNNING else None)
