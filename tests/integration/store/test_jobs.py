"""Jobs in the database: begun once, gone on with by one worker at a time, kept for a while."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import IdempotencyMismatch, JobConflict
from pacifica.notifications.flow import Cause, Deferral, Settlement, State
from pacifica.notifications.orm import AuditEntry, EventLog, EventLogMatch, Job, reading, writing
from pacifica.notifications.store import jobs, replaying, walking
from pacifica.notifications.store.claims import keep_turn, take_turn
from pacifica.notifications.store.deferred import insert_deferred
from pacifica.notifications.store.holding import disable
from pacifica.notifications.store.jobs import ClaimedJob, JobKind, JobState, NewJob, StoredJob
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.purging import purge_finished
from pacifica.notifications.store.subscriptions import delete
from tests.support import stored

LEASE = 60.0
AT_ONCE = 6


def backtest(user: str = "alice") -> StoredJob:
    return jobs.start(NewJob(JobKind.BACKTEST, user, {"asked": {}}))


def replay(subscription: UUID, key: str = "", **asked: Any) -> StoredJob:
    return jobs.start(NewJob(JobKind.REPLAY, "alice", {"asked": asked}, subscription, key))


def claimed() -> ClaimedJob:
    found = jobs.claim_job(LEASE)
    assert found is not None
    return found


def end(job: StoredJob) -> None:
    """Let a job end."""
    stored.write(Job, [job.uuid], state=JobState.FINISHED, due=None, finished=utcnow())


def test_one_backtest_runs_for_a_user_however_many_are_asked_for_at_once() -> None:
    def begin(_number: int) -> bool:
        try:
            backtest()
        except JobConflict:
            return False
        return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert sum(pool.map(begin, range(AT_ONCE))) == 1
    backtest("bob")


def test_the_same_key_begins_one_replay_however_often_it_is_sent_at_once() -> None:
    subscription = stored.subscribe()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        begun = pool.map(lambda _: replay(subscription, "key", mode="all"), range(AT_ONCE))
        assert len({job.uuid for job in begun}) == 1
    with pytest.raises(IdempotencyMismatch):
        replay(subscription, "key", mode="failed")


def test_a_replay_is_refused_beside_another_and_while_disabled_and_past_the_bound() -> None:
    subscriptions = [stored.subscribe() for _ in range(jobs.MAX_REPLAYS + 1)]
    begun = [replay(each) for each in subscriptions[: jobs.MAX_REPLAYS]]
    with pytest.raises(JobConflict, match=f"the replay {begun[0].uuid} is running"):
        replay(subscriptions[0])
    with pytest.raises(JobConflict, match="5 replays of yours"):
        replay(subscriptions[-1])
    end(begun[0])
    replay(subscriptions[-1])
    disable(subscriptions[0], "broken")
    with pytest.raises(JobConflict, match="disabled"):
        replay(subscriptions[0])
    delete("alice", subscriptions[0])
    with pytest.raises(JobConflict, match="deleted"):
        replay(subscriptions[0])


def test_what_a_replay_is_begun_and_cancelled_by_is_in_the_audit_log() -> None:
    subscription = stored.subscribe()
    job = replay(subscription)
    jobs.cancel(job)
    jobs.cancel(job)
    assert actions(subscription) == ["replay cancelled", "replay created"]


@reading
def actions(subscription: UUID) -> list[str]:
    rows = AuditEntry.select().where(
        AuditEntry.subscription == subscription, AuditEntry.action.startswith("replay")
    )
    return sorted(row.action for row in rows)


def test_a_claimed_job_is_nobody_elses_until_its_lease_ends() -> None:
    job = backtest()
    first = claimed()
    assert (first.job.uuid, first.attempts) == (job.uuid, 1)
    assert jobs.claim_job(LEASE) is None
    stored.let_leases_run_out(Job, [job.uuid])
    second = claimed()
    assert second.attempts == 2
    assert not jobs.record_progress(first, {"by": "first"}, 0.0)
    assert jobs.record_progress(second, {"by": "second"}, 0.0)
    third = claimed()
    assert (third.attempts, third.job.progress) == (1, {"by": "second"})


def test_a_cancelled_job_is_gone_on_with_no_more() -> None:
    job = backtest()
    holder = claimed()
    assert jobs.cancel(job).state is JobState.CANCELLED
    assert not jobs.record_progress(holder, {"late": True}, None)
    stored_job = jobs.job_of("alice", JobKind.BACKTEST, job.uuid)
    assert stored_job is not None
    assert (stored_job.state, stored_job.progress) == (JobState.CANCELLED, {})
    assert jobs.seconds_until_due() is None
    assert jobs.claim_job(LEASE) is None


def test_users_take_turns_however_many_jobs_one_of_them_has() -> None:
    for _ in range(4):
        replay(stored.subscribe())
    for user in ("bob", "carol"):
        backtest(user)
    turns = []
    for _ in range(9):
        holder = claimed()
        turns.append(holder.job.user)
        jobs.record_progress(holder, {}, 0.0)
    assert {user: turns.count(user) for user in turns} == {"alice": 3, "bob": 3, "carol": 3}


def test_a_job_that_waits_is_not_claimed_before() -> None:
    backtest()
    assert jobs.record_progress(claimed(), {}, 30.0)
    assert jobs.claim_job(LEASE) is None
    wait = jobs.seconds_until_due()
    assert wait is not None
    assert 25 < wait <= 30


def test_one_of_two_who_have_the_same_turn_goes_on() -> None:
    turn = take_turn("jobs", 10)
    assert turn is not None
    assert take_turn("jobs", 10) is None
    kept = keep_turn("jobs", turn, 20)
    assert kept is not None
    assert keep_turn("jobs", turn, 20) is None
    assert keep_turn("jobs", kept, 0.0) is not None
    assert take_turn("jobs", 10) is not None


def test_a_user_reads_their_own_jobs_alone_and_lists_them_newest_first() -> None:
    subscription = stored.subscribe()
    begun = []
    for number in range(3):
        job = replay(subscription, f"key {number}")
        end(job)
        begun.append(job)
    for user, kind, of in (
        ("bob", JobKind.REPLAY, None),
        ("alice", JobKind.BACKTEST, None),
        ("alice", JobKind.REPLAY, uuid4()),
    ):
        assert jobs.job_of(user, kind, begun[0].uuid, of) is None
    page = jobs.page_of_jobs("alice", JobKind.REPLAY, 2, subscription=subscription)
    assert [job.uuid for job in page.jobs] == [begun[2].uuid, begun[1].uuid]
    rest = jobs.page_of_jobs("alice", JobKind.REPLAY, 2, page.last, subscription=subscription)
    assert ([job.uuid for job in rest.jobs], rest.last) == ([begun[0].uuid], None)
    assert jobs.page_of_jobs("bob", JobKind.REPLAY, 2).jobs == []


def test_ended_jobs_are_kept_for_a_while_and_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "MAX_KEPT", 2)
    begun = []
    for _ in range(4):
        job = backtest()
        end(job)
        begun.append(job.uuid)
    assert known(begun) == begun[2:]
    running = backtest()
    long_ago = utcnow() - timedelta(seconds=jobs.KEPT_SECONDS + 1)
    stored.write(Job, [begun[3]], created=long_ago, finished=long_ago)
    stored.write(Job, [running.uuid], created=long_ago)
    assert jobs.forget_ended() == 1
    assert jobs.forget_ended() == 0
    assert running.uuid in known([running.uuid])


def known(uuids: list[UUID]) -> list[UUID]:
    return [each for each in uuids if jobs.job_of("alice", JobKind.BACKTEST, each) is not None]


def settled(*to: UUID) -> UUID:
    """Store an event that was dispatched to subscriptions, to none of them by default."""
    return stored.matched(*to)


STATES = (State.DELIVERED, State.DENIED, State.FAILED, State.EXPIRED)


def replayed(
    holder: ClaimedJob, events: list[UUID], *, missing: bool = True
) -> tuple[list[UUID], int]:
    """Replay events; return those that Policy is to be asked about, and how many were counted."""
    counted: list[int] = []

    def progress(count: int) -> tuple[dict[str, Any], float]:
        counted.append(count)
        return {"deliveries": count}, 0.0

    found = replaying.replay(holder, events, STATES, missing=missing, progress_for=progress)
    return found, sum(counted)


def test_a_missing_delivery_is_added_once_however_many_workers_do_so() -> None:
    subscription = stored.subscribe()
    events = [settled() for _ in range(5)]
    job = replay(subscription)
    holder = claimed()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda _: replayed(holder, events), range(AT_ONCE)))
    assert sorted(count for _, count in results) == [0] * (AT_ONCE - 1) + [5]
    assert [len(stored.deliveries_of(event)) for event in events] == [1] * 5
    rows = [stored.row(EventLogMatch, stored.deliveries_of(event)[0]) for event in events]
    assert {(row.state, row.cause) for row in rows} == {(State.MATCHED, Cause.REPLAY)}
    assert replaying.has_replayed_under_way(subscription, 5)
    assert not replaying.has_replayed_under_way(subscription, 6)
    found = jobs.job_of("alice", JobKind.REPLAY, job.uuid)
    assert found is not None
    assert found.progress == {"deliveries": 5}


def test_what_has_a_delivery_keeps_its_id_and_what_is_under_way_is_left_alone() -> None:
    subscription = stored.subscribe()
    events = [settled(subscription) for _ in range(3)]
    ids = [stored.deliveries_of(event) for event in events]
    stored.write(EventLogMatch, ids[0], state=State.DELIVERED, due=None)
    stored.write(EventLogMatch, ids[1], state=State.DENIED, due=None)
    replay(subscription)
    found, count = replayed(claimed(), events)
    assert (set(found), count) == (set(events[:2]), 2)
    assert [stored.deliveries_of(event) for event in events] == ids
    causes = [stored.row(EventLogMatch, each).cause for (each,) in ids]
    assert causes == [Cause.REPLAY, Cause.REPLAY, Cause.AUTOMATIC]


def test_what_is_not_dispatched_or_settled_or_is_matched_later_gets_no_delivery() -> None:
    subscription = stored.subscribe()
    waiting, deferred, asked, never = stored.receive(), settled(), settled(), settled()
    defer(deferred, subscription)
    stored.write(EventLog, [asked], settle_due=utcnow(), settlement=Settlement.SETTLING)
    stored.write(EventLog, [never], settlement=Settlement.EXPIRED)
    events = [waiting, deferred, asked, never]
    replay(subscription)
    assert replayed(claimed(), events) == ([], 0)
    assert [stored.deliveries_of(event) for event in events] == [[]] * 4
    found = walking.next_events_for(
        subscription, "alice", utcnow() - timedelta(hours=1), utcnow(), None
    )
    shown = {each.event.uuid: (each.is_shown, each.is_settled) for each in found}
    expected = [(True, False), (True, False), (False, True), (False, True)]
    assert [shown[event] for event in events] == expected


@writing
def defer(event: UUID, subscription: UUID) -> None:
    insert_deferred([(event, Deferral("alice", (subscription,), parked=False))], utcnow())


def test_an_event_that_is_purged_meanwhile_is_passed_by() -> None:
    subscription = stored.subscribe()
    events = [settled(), settled()]
    replay(subscription)
    holder = claimed()
    purge_finished([events[0]], None)
    assert replayed(holder, events) == ([events[1]], 1)


def test_a_cancelled_replay_adds_nothing() -> None:
    subscription = stored.subscribe()
    event = settled()
    job = replay(subscription)
    holder = claimed()
    jobs.cancel(job)
    assert replayed(holder, [event]) == ([], 0)
    assert stored.deliveries_of(event) == []


@pytest.mark.parametrize("late", [0.0, 5.0])
def test_live_events_and_deliveries_that_wait_are_noticed_and_replayed_ones_are_not(
    late: float,
) -> None:
    subscription = stored.subscribe()
    (delivery,) = stored.deliveries_of(settled(subscription))
    due = utcnow() - timedelta(seconds=late)
    stored.write(EventLogMatch, [delivery], due=due)
    assert replaying.has_live_waiting(1.0) is (late > 1)
    stored.write(EventLogMatch, [delivery], cause=Cause.REPLAY)
    assert replaying.has_live_waiting(1.0) is False
    stored.write(EventLog, [stored.receive()], due=due)
    assert replaying.has_live_waiting(1.0) is (late > 1)


def walked(read: Callable[[Position | None], Any]) -> list[UUID]:
    """Walk to the end of a period and return the events in the order in which they came."""
    found, position = [], None
    while some := read(position):
        found += [each.event.uuid for each in some]
        position = some[-1].position
    return found


def test_events_are_walked_through_once_each_in_order_and_within_their_period(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(walking, "_EVENTS", 3)
    events = [settled() for _ in range(8)]
    same = utcnow().replace(microsecond=0) - timedelta(minutes=1)
    stored.write(EventLog, events[:5], created=same)
    for number, event in enumerate(events[5:]):
        stored.write(EventLog, [event], created=same + timedelta(seconds=1 + number))
    start, end = same, same + timedelta(seconds=3)
    expected = [*sorted(events[:5], key=lambda each: each.hex), *events[5:7]]
    assert walked(lambda after: walking.next_events(start, end, after)) == expected
    monkeypatch.setattr(walking, "_BYTES", 1)  # each event alone has more
    assert walked(lambda after: walking.next_events(start, end, after)) == expected


def test_failed_deliveries_are_walked_through_once_each_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(walking, "_EVENTS", 2)
    subscription, other = stored.subscribe(), stored.subscribe()
    events = [settled(subscription, other) for _ in range(6)]
    began = utcnow() - timedelta(minutes=1)
    for number, event in enumerate(events):
        state = (State.EXPIRED, State.FAILED, State.DELIVERED)[number % 3]
        ids = stored.deliveries_of(event)
        moment = began + timedelta(seconds=number)
        stored.write(EventLogMatch, ids, state=state, due=None, created=moment)
    found = walked(lambda after: walking.next_failed(subscription, began, utcnow(), after))
    assert found == [events[0], events[1], events[3], events[4]]
