"""Row locks on PostgreSQL: who works on deliveries keeps others waiting as little as can be."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Cause, Delivery, Outcome, Ruling, State
from pacifica.notifications.orm import EventLog, EventLogMatch, EventMatch, insert_rows, writing
from pacifica.notifications.store import deliveries, events, expiring, holding, purging
from pacifica.notifications.store.deliveries import matched_row
from pacifica.notifications.store.dispatching import DispatchPlan, record_dispatched
from pacifica.notifications.store.purging import Purged
from pacifica.notifications.store.resending import send_again
from pacifica.notifications.store.revisions import current_revision
from tests.support import databases
from tests.support.servers import eventually
from tests.support.stored import LEASE, deliveries_of, receive, row, state, subscribe, write

pytestmark = [
    pytest.mark.server,
    pytest.mark.parametrize("engine", ["postgresql"], indirect=True),
]

LOW, HIGH = UUID(int=1), UUID(int=2)
# Seconds in which something happens that waits for nobody.
AT_ONCE = 5.0
OVER = 20.0
_WAITING = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.mark.parametrize("change", ["hold", "change"])
def test_deliveries_are_stored_while_somebody_works_on_their_subscription(change: str) -> None:
    to, other = subscribe(), subscribe()
    write(EventMatch, [to], disabled=utcnow())
    working: dict[str, Callable[[], object]] = {
        "hold": lambda: holding.hold_for_disabled([to, other]),
        "change": lambda: holding.select_for_update(EventMatch.uuid == to),
    }
    event = receive()
    plan = DispatchPlan(current_revision(), [], [(uuid4(), event, other), (uuid4(), event, to)], [])
    with ThreadPoolExecutor(2) as threads, uncommitted(threads, working[change]):
        dispatch = threads.submit(record_dispatched, [event], plan, [], lease=LEASE, max_claimed=0)
        assert dispatch.result(AT_ONCE).events == {event}
    assert len(deliveries_of(event)) == 2


def test_subscriptions_are_changed_while_the_deliveries_of_a_disabled_one_are_held(
    migrated: str,
) -> None:
    to = stored_in_descending_order()
    with ThreadPoolExecutor(2) as threads, locked(migrated, LOW) as connection:
        disabling = threads.submit(holding.disable, to, "an error")
        wait_for_lock(migrated, disabling)
        other = threads.submit(subscribe).result(AT_ONCE)
        assert row(EventMatch, to).disabled is not None
        connection.commit()
        assert disabling.result(AT_ONCE)
    assert [state(each)[0] for each in (LOW, HIGH)] == ["held", "held"]
    assert row(EventMatch, other).disabled is None


@pytest.mark.parametrize(
    "action",
    [
        *("answer", "rule", "wait", "hold", "leave", "release", "expire", "drop", "replay"),
        *("purge", "purge some", "purge unfinished"),
    ],
)
def test_deliveries_are_locked_in_the_order_of_their_ids(migrated: str, action: str) -> None:
    to = stored_in_descending_order()
    act = ACTIONS[action](to)
    with ThreadPoolExecutor(1) as threads, locked(migrated, LOW) as connection:
        acting = threads.submit(act)
        wait_for_lock(migrated, acting)
        # Had it locked the other one before, this would be a deadlock.
        lock(connection, HIGH, "NOWAIT")
        connection.commit()
        acting.result(AT_ONCE)


def test_event_is_kept_when_a_delivery_is_sent_again_while_it_is_purged(migrated: str) -> None:
    purge = _purge(stored_in_descending_order())
    with ThreadPoolExecutor(2) as threads:
        with uncommitted(threads, lambda: send_again([HIGH], Cause.RESEND)):
            purging_it = threads.submit(purge)
            wait_for_lock(migrated, purging_it)
        assert purging_it.result(AT_ONCE) == Purged(0, 1)
    assert [state(each)[0] for each in (LOW, HIGH)] == ["dropped", "matched"]


def _answer(to: UUID) -> Callable[[], object]:
    sent = _sent(to)
    outcomes = [
        Outcome(each, False, utcnow(), "503", str(each.uuid))
        for each in sorted(sent, key=lambda each: each.uuid, reverse=True)
    ]
    return lambda: deliveries.record_outcomes(outcomes)


def _rule(to: UUID) -> Callable[[], object]:
    rulings = [Ruling((each,), State.ALLOWED, utcnow(), "200", "") for each in _asked(to)]
    return lambda: deliveries.record_rulings(rulings)


def _wait(to: UUID) -> Callable[[], object]:
    ruling = Ruling(tuple(_asked(to)), State.HELD, None, "500", "", utcnow())
    return lambda: deliveries.record_rulings([ruling])


def _hold(to: UUID) -> Callable[[], object]:
    write(EventMatch, [to], disabled=utcnow())
    return lambda: holding.hold_for_disabled([to])


def _leave(to: UUID) -> Callable[[], object]:
    rulings = [Ruling((each,), State.ALLOWED, utcnow(), "200", "") for each in _asked(to)]
    deliveries.record_rulings(rulings)
    leased = utcnow()
    write(EventLogMatch, [LOW, HIGH], leased=leased)
    return lambda: deliveries._end_leases([HIGH, LOW], leased)


def _release(to: UUID) -> Callable[[], object]:
    holding.disable(to, "an error", probe_due=utcnow())
    write(EventMatch, [to], probes=0)
    return lambda: holding.release_or_probe(to, 2, _NO_RECOVERY)


def _expire(to: UUID) -> Callable[[], object]:
    holding.disable(to, "an error")
    return lambda: expiring.expire(0, 3600.0)


def _drop(to: UUID) -> Callable[[], object]:
    return lambda: holding.drop_all(to)


def _replay(_to: UUID) -> Callable[[], object]:
    return lambda: writing(send_again)([HIGH, LOW], Cause.REPLAY)


def _purge(to: UUID) -> Callable[[], object]:
    holding.drop_all(to)
    write(EventLog, [row(EventLogMatch, LOW).event_log_id], due=None)
    return lambda: purging.purge_finished([], None)


def _purge_some(_to: UUID) -> Callable[[], object]:
    event = row(EventLogMatch, LOW).event_log_id
    return lambda: writing(purging._delete_some_deliveries)(event)


def _purge_unfinished(_to: UUID) -> Callable[[], object]:
    return lambda: events.purge([], utcnow())


# Nothing of it is read by a release.
_NO_RECOVERY: Any = None
ACTIONS: dict[str, Callable[[UUID], Callable[[], object]]] = {
    "answer": _answer,
    "rule": _rule,
    "wait": _wait,
    "hold": _hold,
    "leave": _leave,
    "release": _release,
    "expire": _expire,
    "drop": _drop,
    "replay": _replay,
    "purge": _purge,
    "purge some": _purge_some,
    "purge unfinished": _purge_unfinished,
}


def stored_in_descending_order() -> UUID:
    """Store two deliveries, which PostgreSQL finds in this order; returns their subscription."""
    to, event = subscribe(), receive()
    store = writing(insert_rows)
    store(EventLogMatch, [matched_row(each, event, to, utcnow()) for each in (HIGH, LOW)])
    return to


def _asked(to: UUID) -> list[Delivery]:
    """Claim the deliveries to ask Policy, the latter one first."""
    event = row(EventLogMatch, LOW).event_log_id
    claimed = deliveries.claim_matched([event], LEASE, 2)
    assert {each.subscription.uuid for each in claimed} == {to}
    return sorted(claimed, key=lambda each: each.uuid, reverse=True)


def _sent(to: UUID) -> list[Delivery]:
    for each in _asked(to):
        deliveries.record_rulings([Ruling((each,), State.ALLOWED, utcnow(), "200", "")])
    return deliveries.claim_allowed([LOW, HIGH], LEASE, 2)


@contextmanager
def uncommitted(threads: ThreadPoolExecutor, action: Callable[[], object]) -> Iterator[None]:
    """Do something in a thread, in a transaction that is committed after the block."""
    done, over = threading.Event(), threading.Event()

    @writing
    def act() -> None:
        action()
        done.set()
        assert over.wait(OVER)

    acting = threads.submit(act)
    try:
        assert done.wait(AT_ONCE)
        yield
    finally:
        over.set()
    acting.result(AT_ONCE)


@contextmanager
def locked(url: str, delivery: UUID) -> Iterator[Any]:
    """Lock a delivery on a connection of its own, which is committed in the block."""
    with closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        lock(connection, delivery)
        yield connection


def lock(connection: Any, delivery: UUID, how: str = "") -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT 1 FROM eventlogmatch WHERE uuid = %s FOR UPDATE {how}",  # noqa: S608 no value
            (str(delivery),),
        )
        assert cursor.fetchall()


def wait_for_lock(url: str, action: Future[Any]) -> None:
    """Wait until somebody waits for a lock; the action must not be over by then."""
    eventually(lambda: action.done() or bool(databases.execute(url, _WAITING)), AT_ONCE)
    assert not action.done(), action.exception()
