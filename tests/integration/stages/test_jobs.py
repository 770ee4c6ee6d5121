"""Backtests and replays as one worker goes on with them, between a Policy and a target."""

import json
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import State
from pacifica.notifications.orm import EventLog, EventLogMatch, Job, Lock, writing
from pacifica.notifications.stages import backtest, replay
from pacifica.notifications.stages import jobs as stages_jobs
from pacifica.notifications.stages.period import Period
from pacifica.notifications.store import jobs, subscriptions
from pacifica.notifications.store.holding import disable
from pacifica.notifications.store.jobs import JobKind, JobState, NewJob, StoredJob
from tests.integration.stages.flow import EVENT, Flow, enable, matches, release_held
from tests.support import stored
from tests.support.servers import Received

#: Events whose transaction has this number or a higher one are denied to everybody.
DENIED = 5000


@pytest.fixture
def flow(flow: Flow) -> Flow:
    """Give a worker whose Policy denies some events."""
    flow.policy.answer = verdict
    return flow


def verdict(asked: Received) -> tuple[int, dict[str, str], bytes]:
    if asked.method == "GET":
        return 200, {}, b'[{"_id": 10}]'
    value = json.loads(asked.body)["data"][0]["value"]
    return (412 if value >= DENIED else 200), {}, b"{}"


def receive(flow: Flow, transaction: int, mark: str = "x", kind: str = "x") -> UUID:
    """Have an event received that was dispatched to nobody."""
    record = {"destinationTable": "Transactions._id", "value": transaction, "mark": mark}
    event = flow.receive({**EVENT, "eventType": kind, "data": [record]})
    flow.run()
    return event


def period() -> dict[str, str]:
    return Period(utcnow() - timedelta(hours=1), utcnow()).written()


def begin_backtest(jsonpath: str = "$.data[*].mark", stored: str | None = None) -> StoredJob:
    request = {**period(), "jsonpath": jsonpath, "stored": stored}
    return jobs.start(NewJob(JobKind.BACKTEST, "alice", request))


def begin_replay(subscription: UUID, mode: str, match: str = "then", **more: Any) -> StoredJob:
    request = {**period(), "mode": mode, "match": match, "dry_run": False, **more}
    return jobs.start(NewJob(JobKind.REPLAY, "alice", request, subscription))


def advance(flow: Flow) -> float | None:
    """Go on for one slice; return how long to wait for the next."""
    forget_lock()
    turn = flow.app.jobs.begins()
    following = None if turn is None else flow.app.jobs.go_on(turn)
    return None if following is None else following.wait


@writing
def forget_lock() -> None:
    Lock.delete().where(Lock.name == "jobs").execute()


def state_of(job: StoredJob) -> StoredJob:
    found = jobs.job_of("alice", job.kind, job.uuid)
    assert found is not None
    return found


def run(flow: Flow, job: StoredJob, seconds: float = 10.0) -> StoredJob:
    """Go on with everything until a job has ended."""
    deadline = time.monotonic() + seconds
    while state_of(job).state is JobState.RUNNING:
        assert time.monotonic() < deadline, state_of(job)
        make_due()
        advance(flow)
        flow.deliver(flow.authorise(waiting()))
    return state_of(job)


@writing
def make_due() -> None:
    """Let the time of what jobs wait for come."""
    Job.update(due=utcnow()).where(Job.due.is_null(False)).execute()


@writing
def waiting() -> list[UUID]:
    rows = EventLogMatch.select().where(EventLogMatch.state == State.MATCHED)
    return [row.event_log_id for row in rows]


def told(job: StoredJob) -> dict[str, Any]:
    """Return what a job may tell of events, without their ids."""
    left_out = ("position", "looked", "examples")
    return {name: value for name, value in job.progress.items() if name not in left_out}


@pytest.mark.parametrize("bound", [3, 500])
def test_a_backtest_tells_the_same_whether_denied_events_match_or_not(
    flow: Flow, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtest, "MAX_COUNTED", bound)
    for number in (1, DENIED, 2, DENIED + 1, DENIED + 2, 3, 4, DENIED + 3):
        receive(flow, number, "x" if number < DENIED else "secret")
    answers = []
    for jsonpath in (
        '$.data[*][?(@.mark = "x")]',
        '$.data[*][?(@.mark = "x" or @.mark = "secret")]',
        "$.data[*].mark",
    ):
        job = run(flow, begin_backtest(jsonpath, '$.data[*][?(@.mark = "secret")]'))
        answers.append((job.state, told(job), len(job.progress["examples"])))
    assert answers == [answers[0]] * 3
    counted = min(bound, 4)
    assert answers[0][1]["total"] == {"matched": counted, "gained": counted, "lost": 0, "failed": 0}
    assert answers[0][1]["stopped"] == ("matches" if bound == 3 else "")


def test_policy_is_asked_whether_anything_matches_or_not(flow: Flow) -> None:
    receive(flow, 1)
    flow.policy.requests.clear()
    run(flow, begin_backtest("$.nothing"))
    assert len([each for each in flow.policy.requests if each.method == "POST"]) == 1


def test_a_backtest_stops_after_so_many_events_whatever_they_are(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backtest, "MAX_EVENTS", 2)
    for number in (1, DENIED, 2):
        receive(flow, number)
    progress = run(flow, begin_backtest()).progress
    assert (progress["stopped"], progress["looked"], progress["total"]["matched"]) == (
        "events",
        2,
        1,
    )


def test_a_backtest_waits_while_policy_is_away_and_goes_on_where_it_was(flow: Flow) -> None:
    receive(flow, 1)
    job = begin_backtest()
    flow.policy.answer = lambda _: (500, {}, b"")
    wait = advance(flow)
    found = state_of(job)
    assert (found.state, found.progress["waits_for"]) == (JobState.RUNNING, "policy")
    assert wait is not None
    assert wait > 1.0
    flow.policy.answer = verdict
    assert run(flow, job).progress["total"]["matched"] == 1


def test_a_slow_policy_holds_no_worker_and_its_answers_are_used_later(flow: Flow) -> None:
    receive(flow, 1)

    def slow(asked: Received) -> tuple[int, dict[str, str], bytes]:
        time.sleep(0.3)  # longer than a slice waits
        return verdict(asked)

    flow.policy.answer = slow
    job = begin_backtest()
    began = time.monotonic()
    advance(flow)
    assert time.monotonic() - began < 0.3 + 0.2
    assert state_of(job).progress["waits_for"] == "policy"
    assert run(flow, job).progress["total"]["matched"] == 1


@pytest.mark.parametrize(("mode", "count"), [("failed", 1), ("missing", 2), ("all", 4)])
def test_a_replay_makes_the_deliveries_of_its_mode(flow: Flow, mode: str, count: int) -> None:
    early = [receive(flow, number) for number in (1, DENIED)]
    subscription = flow.subscribe()
    events = [receive(flow, number) for number in (2, 3, 4, DENIED)]
    stored.write(EventLogMatch, stored.deliveries_of(events[1]), state=State.EXPIRED)
    stored.write(EventLogMatch, stored.deliveries_of(events[2]), state=State.DENIED)
    before = len(flow.target.requests)
    job = run(flow, begin_replay(subscription, mode, "now"))
    assert (job.state, job.progress["deliveries"]) == (JobState.FINISHED, count)
    assert len(flow.target.requests) - before == count
    assert [len(matches(event)) for event in events] == [1] * 4
    assert [len(matches(event)) for event in early] == ([0, 0] if mode == "failed" else [1, 0])


@pytest.mark.parametrize(
    ("mode", "only", "count"),
    [
        ("all", {"type": "b"}, 2),
        ("all", {"status": "4"}, 1),
        ("all", {"state": "delivered"}, 2),
        ("failed", {"state": "expired"}, 1),
        ("failed", {"type": "a", "status": "4"}, 1),
        ("failed", {"status": "2"}, 0),
        ("missing", {"type": "b"}, 1),
    ],
    ids=str,
)
def test_a_replay_makes_only_the_deliveries_that_its_filters_let_through(
    flow: Flow, mode: str, only: dict[str, str], count: int
) -> None:
    receive(flow, 1, kind="b")  # is missing
    subscription = flow.subscribe()
    events = [receive(flow, number, kind=kind) for number, kind in enumerate("aaba", 2)]
    failed, expired, _, denied = map(stored.deliveries_of, events)
    stored.write(EventLogMatch, failed, state=State.FAILED, target_status_code="422")
    stored.write(EventLogMatch, expired, state=State.EXPIRED, target_status_code="")
    stored.write(EventLogMatch, denied, state=State.DENIED)  # was delivered before
    receive(flow, 6, kind="c")
    dry = run(flow, begin_replay(subscription, mode, "now", dry_run=True, **only))
    before = len(flow.target.requests)
    job = run(flow, begin_replay(subscription, mode, "now", **only))
    assert [each.progress["deliveries"] for each in (dry, job)] == [count, count]
    assert len(flow.target.requests) - before == count


def test_a_replay_goes_by_the_jsonpath_then_or_now(flow: Flow) -> None:
    subscription = flow.subscribe(jsonpath='$.data[*][?(@.mark = "old")]')
    disabled = {"disabled": utcnow()}
    subscriptions.update("alice", subscription, lambda _: disabled)
    receive(flow, 1, "old"), receive(flow, 2, "new")
    enable(subscription)
    changed = {"jsonpath": '$.data[*][?(@.mark = "new")]'}
    subscriptions.update("alice", subscription, lambda _: changed)
    receive(flow, 3, "old")
    dry = [
        run(flow, begin_replay(subscription, "missing", match, dry_run=True))
        for match in ("then", "now")
    ]
    assert [job.progress["deliveries"] for job in dry] == [1, 1]
    run(flow, begin_replay(subscription, "missing", "then"))
    marks = [json.loads(each.body)["data"][0]["mark"] for each in flow.target.requests]
    assert marks == ["old"]


def test_a_replay_waits_while_its_subscription_is_disabled_and_for_its_deliveries(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacifica.notifications.stages.walk.MAX_FOUND", 1)
    for number in range(6):
        receive(flow, number)
    subscription = flow.subscribe()
    job = begin_replay(subscription, "missing", "now")
    for made in range(1, 6):  # where few events match, one is not waited for
        advance(flow)
        assert state_of(job).progress["deliveries"] == made
        make_due()
    advance(flow)
    assert state_of(job).progress["waits_for"] == "deliveries"
    disable(subscription, "broken")
    make_due()
    advance(flow)
    found = state_of(job)
    assert (found.progress["waits_for"], found.progress["deliveries"]) == ("subscription", 5)
    enable(subscription)
    release_held()
    assert run(flow, job).progress["deliveries"] == 6


def test_a_replay_waits_for_what_is_live(flow: Flow) -> None:
    receive(flow, 1)
    subscription = flow.subscribe()
    late = flow.receive()
    stored.write(EventLog, [late], due=utcnow() - timedelta(seconds=5))
    job = begin_replay(subscription, "missing", "now")
    advance(flow)
    found = state_of(job)
    assert (found.progress["waits_for"], found.progress["deliveries"]) == ("other_events", 0)
    flow.run()  # which sends it
    assert run(flow, job).progress["deliveries"] == 1


def test_a_replay_ends_at_its_bound_and_with_its_subscription(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MAX_DELIVERIES", 2)
    for number in (1, DENIED, 2, 3):
        receive(flow, number)
    subscription = flow.subscribe()
    progress = run(flow, begin_replay(subscription, "missing", "now")).progress
    assert (progress["deliveries"], progress["stopped"]) == (2, "deliveries")
    job = begin_replay(subscription, "missing", "now")
    subscriptions.delete("alice", subscription)
    found = run(flow, job)
    assert (found.state, found.progress["stopped"]) == (JobState.FAILED, "deleted")


def test_a_job_that_fails_or_takes_too_long_is_given_up_and_others_go_on(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    receive(flow, 1)
    broken = jobs.start(NewJob(JobKind.BACKTEST, "bob", {"start": "never"}))
    job = run(flow, begin_backtest())
    assert job.state is JobState.FINISHED
    found = jobs.job_of("bob", JobKind.BACKTEST, broken.uuid)
    assert found is not None
    assert (found.state, found.progress["stopped"]) == (JobState.FAILED, "error")
    killing = begin_backtest()
    for _ in range(5):  # as many workers end without a word
        make_due()
        assert jobs.claim_job(60.0) is not None
    assert run(flow, killing).progress["stopped"] == "error"
    monkeypatch.setattr(stages_jobs, "_MAX_AGE", dict.fromkeys(JobKind, -1.0))
    assert run(flow, begin_backtest()).progress["stopped"] == "time"
