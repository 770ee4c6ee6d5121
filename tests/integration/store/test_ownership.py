"""Whose a subscription is, to the database: others' rows are not read, locked or waited for."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.errors import StoreUnavailable, TooManySubscriptions
from pacifica.notifications.flow import State
from pacifica.notifications.orm import DB, EventLogMatch, EventMatch, reading
from pacifica.notifications.settings import RecoverySettings
from pacifica.notifications.store import holding, subscriptions
from pacifica.notifications.store.revisions import current_revision
from pacifica.notifications.subscriptions import new_subscription
from tests.support.servers import eventually
from tests.support.stored import allowed, row, subscribe

CALLS: dict[str, Callable[[UUID], Any]] = {
    "GET": lambda uuid: subscriptions.one_of_user("alice", uuid),
    "PUT": lambda uuid: subscriptions.update("alice", uuid, lambda _stored: {"name": "changed"}),
    "DELETE": lambda uuid: subscriptions.delete("alice", uuid),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def statements(caplog: pytest.LogCaptureFixture) -> Callable[[Callable[[], Any]], list[str]]:
    """Give a function that returns the SQL which something executes, as peewee logs it."""

    def executed(act: Callable[[], Any]) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="peewee"):
            act()
        return [record.getMessage() for record in caplog.records if record.name == "peewee"]

    return executed


@calls
def test_same_statements_are_executed_whether_it_is_unknown_deleted_or_of_another_user(
    call: Callable[[UUID], Any], statements: Callable[[Callable[[], Any]], list[str]]
) -> None:
    theirs, deleted = subscribe("bob"), subscribe("alice")
    subscriptions.delete("alice", deleted)
    found = [statements(lambda uuid=uuid: call(uuid)) for uuid in (theirs, deleted, uuid4())]
    assert found == [found[0]] * 3
    looked = [sql.partition("WHERE")[2] for sql in found[0] if "eventmatch" in sql]
    assert looked
    assert all("user" in conditions and "deleted" in conditions for conditions in looked)


@calls
def test_revision_stays_when_it_is_unknown_deleted_or_of_another_user(
    call: Callable[[UUID], Any],
) -> None:
    theirs, deleted = subscribe("bob"), subscribe("alice")
    subscriptions.delete("alice", deleted)
    before = current_revision(), row(EventMatch, theirs).revision
    for uuid in (theirs, deleted, uuid4()):
        assert not call(uuid)
    assert (current_revision(), row(EventMatch, theirs).revision) == before


@calls
def test_nobody_waits_for_a_row_of_another_user_that_is_locked(
    call: Callable[[UUID], Any], database: str
) -> None:
    if database.startswith("sqlite"):
        pytest.skip("SQLite locks no rows")
    theirs = subscribe("bob")
    with ThreadPoolExecutor(1) as other, DB.atomic():
        assert holding.select_for_update(EventMatch.uuid == theirs)
        assert not other.submit(call, theirs).result(timeout=2)
    assert row(EventMatch, theirs).name == "n"


def test_nobody_waits_while_the_deliveries_of_a_deleted_subscription_are_dropped(
    database: str,
) -> None:
    if database.startswith("sqlite"):
        pytest.skip("SQLite locks no rows")
    uuid = subscribe("alice")
    _event, (delivery,) = allowed(uuid)
    with ThreadPoolExecutor(1) as other:
        with DB.atomic():
            locked = EventLogMatch.select().where(EventLogMatch.uuid == delivery).for_update()
            assert list(locked)
            deleting = other.submit(subscriptions.delete, "alice", uuid)
            eventually(lambda: reading(EventMatch.get_by_id)(uuid).deleted, timeout=5)
            create("bob", 10)
            assert not deleting.done()
        assert deleting.result(timeout=5)
    assert row(EventLogMatch, delivery).state == State.DROPPED


def test_sweep_drops_what_a_deletion_has_not_come_to(monkeypatch: pytest.MonkeyPatch) -> None:
    uuid = subscribe("alice")
    _event, (delivery,) = allowed(uuid)

    def interrupt(_subscription: UUID) -> None:
        raise StoreUnavailable("the connection was lost")

    monkeypatch.setattr(subscriptions, "drop_all", interrupt)
    assert subscriptions.delete("alice", uuid)
    assert row(EventLogMatch, delivery).state == State.ALLOWED
    assert holding.due_held(10) == [uuid]
    holding.release_or_probe(uuid, 100, RecoverySettings())
    assert row(EventLogMatch, delivery).state == State.DROPPED
    assert holding.due_held(10) == []


def test_values_of_statements_are_not_logged(
    statements: Callable[[Callable[[], Any]], list[str]],
) -> None:
    body = {"name": "n", "jsonpath": "$", "target_url": "http://h/", "extensions": {"a": "sesame"}}
    columns = new_subscription(body, "alice", 4096)
    found = statements(lambda: subscriptions.create(columns))
    assert any("INSERT INTO" in sql for sql in found)
    assert not any("sesame" in sql for sql in found)


# How many one user may have.

far = pytest.mark.parametrize("distance", [1, 2, 3, 1000])


def create(user: str, max_per_user: int) -> UUID:
    body = {"name": "n", "jsonpath": "$.data", "target_url": "http://target.invalid/"}
    return UUID(subscriptions.create(new_subscription(body, user, 4096), max_per_user)["uuid"])


@far
def test_creating_is_refused_when_a_user_has_as_many_as_allowed(
    monkeypatch: pytest.MonkeyPatch, distance: int
) -> None:
    monkeypatch.setattr(subscriptions, "_SAFE_DISTANCE", distance)
    mine = [create("alice", 3) for _ in range(3)]
    before = current_revision()
    with pytest.raises(TooManySubscriptions, match="3"):
        create("alice", 3)
    assert current_revision() == before
    assert len(subscriptions.page_of_user("alice", 100).subscriptions) == 3
    create("bob", 3)
    assert subscriptions.delete("alice", mine[0])
    create("alice", 3)
    create("alice", 5)


@far
def test_no_more_are_created_than_allowed_when_many_come_at_once(
    monkeypatch: pytest.MonkeyPatch, distance: int
) -> None:
    monkeypatch.setattr(subscriptions, "_SAFE_DISTANCE", distance)

    def created(_: int) -> bool:
        try:
            create("alice", 5)
        except TooManySubscriptions:
            return False
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(created, range(24))) == 5
    assert len(subscriptions.page_of_user("alice", 100).subscriptions) == 5
