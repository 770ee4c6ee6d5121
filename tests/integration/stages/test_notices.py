"""Owners hear of failures: once, no more than one thing an hour, and nobody else does."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Notice, State
from pacifica.notifications.orm import EventLogMatch, reading, writing
from pacifica.notifications.orm import Notice as NoticeRow
from pacifica.notifications.store import notices, subscriptions
from pacifica.notifications.store.deliveries import due_allowed, due_matched
from pacifica.notifications.store.holding import disable
from tests.integration.stages.flow import Flow, row
from tests.support.servers import eventually
from tests.support.stored import release_or_probe

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

DISABLED = '$[?(@.type = "org.pacifica.notifications.disabled")]'
EVERYTHING = "$.*"


def fail(subscription: UUID, error: str = "its target is gone") -> None:
    assert disable(subscription, error, probe_due=utcnow() + timedelta(hours=1))


def enable(subscription: UUID, user: str = "alice") -> None:
    subscriptions.update(user, subscription, lambda _stored: {"disabled": None})


@writing
def let_an_hour_pass() -> None:
    hour = timedelta(seconds=notices.INTERVAL + 1)
    for found in NoticeRow.select():
        told = found.told and found.told - hour
        due = found.due and found.due - hour
        NoticeRow.update(told=told, due=due).where(
            NoticeRow.subscription == found.subscription
        ).execute()


def tell(flow: Flow) -> int:
    """Tell what is due, as the sweep does; return how many events that makes."""
    told = notices.tell_due(mail=False)
    flow.run()
    return len(told)


def came(flow: Flow, path: str) -> list[Any]:
    return [json.loads(each.body) for each in flow.target.requests if each.path == path]


def test_owner_hears_of_a_failure_and_others_do_not(flow: Flow) -> None:
    failing = flow.subscribe("alice", jsonpath="$.nothing", name="important")
    for user in ("alice", "bob"):
        for jsonpath in (DISABLED, EVERYTHING):
            kind = "all" if jsonpath == EVERYTHING else "own"
            flow.subscribe(user, jsonpath, target_url=f"{flow.target.url}/{user}/{kind}")
    fail(failing)
    assert tell(flow) == 1
    flow.settle()
    (event,) = came(flow, "/alice/own")
    assert event["type"] == "org.pacifica.notifications.disabled"
    assert event["data"]["subscription"] == event["subject"] == str(failing)
    assert (event["data"]["name"], event["data"]["error"]) == ("important", "its target is gone")
    assert not came(flow, "/alice/all")  # which does not ask for such events
    assert not came(flow, "/bob/own")
    assert not came(flow, "/bob/all")
    assert not flow.policy.requests  # the owner is the rule


def test_event_that_only_looks_like_one_of_the_services_own_is_asked_about(flow: Flow) -> None:
    flow.subscribe("bob", DISABLED)
    flow.policy.answer = lambda _asked: (412, {}, b"")
    flow.receive(
        {
            "specversion": "1.0",
            "type": "org.pacifica.notifications.disabled",
            "source": "/eventmatch",
            "id": "1",
            "owner": "bob",
        }
    )
    flow.run()
    assert len(flow.policy.requests) == 1
    assert not flow.target.requests


def test_nobody_else_sees_the_event_later(flow: Flow) -> None:
    failing = flow.subscribe("alice", jsonpath="$.nothing")
    fail(failing)
    (event,) = notices.tell_due(mail=False)
    visibility = flow.app.visibility
    assert visibility.allowed("alice", [event]) == {event}
    assert visibility.allowed("bob", [event]) == set()
    assert not flow.policy.requests


def test_subscription_does_not_get_the_event_about_itself(flow: Flow) -> None:
    failing = flow.subscribe("alice", DISABLED)
    fail(failing)
    assert tell(flow) == 1

    @reading
    def count() -> int:
        return EventLogMatch.select().count()

    assert count() == 0


def test_two_subscriptions_that_hear_of_each_other_end(flow: Flow) -> None:
    flow.target.answer = lambda _asked: (404, {}, b"")
    for _ in range(2):
        fail(flow.subscribe("alice", DISABLED))
    assert tell(flow) == 2
    for _ in range(3):
        let_an_hour_pass()
        assert tell(flow) == 0


def test_owner_hears_of_a_recovery_that_follows_a_failure(flow: Flow) -> None:
    failing = flow.subscribe("alice", name="important")
    flow.target.answer = lambda _asked: (503, {}, b"")
    send_to_failing(flow, failing)
    assert tell(flow) == 1
    flow.target.answer = lambda _asked: (200, {}, b"")
    probe(flow, failing)
    eventually(lambda: row(failing).disabled is None)
    assert tell(flow) == 0  # within the hour
    let_an_hour_pass()
    assert tell(flow) == 1
    assert said(failing) == Notice.RECOVERED


def test_owner_who_did_not_hear_of_a_failure_hears_of_no_recovery(flow: Flow) -> None:
    failing = flow.subscribe("alice")
    flow.target.answer = lambda _asked: (503, {}, b"")
    send_to_failing(flow, failing)
    flow.target.answer = lambda _asked: (200, {}, b"")
    probe(flow, failing)
    eventually(lambda: row(failing).disabled is None)
    assert tell(flow) == 0


def send_to_failing(flow: Flow, failing: UUID) -> None:
    """Send an event to a target that fails, and disable the subscription for it."""
    flow.receive()
    flow.run()
    fail(failing, "503")


def probe(flow: Flow, failing: UUID) -> None:
    @writing
    def make_due() -> None:
        found = row(failing)
        found.probe_at(utcnow())
        found.save()

    make_due()
    release_or_probe(failing, flow.settings)
    flow.run()
    flow.pipeline.deliverer.deliver(flow.pipeline.authoriser.authorise(due_matched(10)))
    flow.pipeline.deliverer.deliver(due_allowed(10))
    flow.settle()


def said(subscription: UUID) -> str:
    @reading
    def read() -> str:
        return NoticeRow.get_by_id(subscription).said

    return read()


def test_flapping_tells_once_an_hour(flow: Flow) -> None:
    failing = flow.subscribe("alice")
    fail(failing)
    assert tell(flow) == 1
    for _ in range(5):
        enable(failing)
        fail(failing)
        assert tell(flow) == 0
    let_an_hour_pass()
    assert tell(flow) == 1
    assert tell(flow) == 0


def test_failure_that_its_owner_has_mended_meanwhile_is_not_told(flow: Flow) -> None:
    failing = flow.subscribe("alice")
    fail(failing)
    enable(failing)
    assert tell(flow) == 0
    deleted = flow.subscribe("alice")
    fail(deleted)
    subscriptions.delete("alice", deleted)
    assert tell(flow) == 0


def test_owner_who_disables_it_hears_nothing(flow: Flow) -> None:
    paused = flow.subscribe("alice")
    subscriptions.update("alice", paused, lambda _stored: {"disabled": utcnow()})
    assert tell(flow) == 0


@pytest.mark.parametrize("age", [27.9, 28.1])
def test_owner_hears_two_days_before_held_deliveries_expire(flow: Flow, age: float) -> None:
    failing = flow.subscribe("alice")
    fail(failing)
    flow.receive()
    flow.run()
    assert tell(flow) == 1
    let_an_hour_pass()

    @writing
    def grow_old() -> None:
        created = utcnow() - timedelta(days=age)
        EventLogMatch.update(created=created).where(EventLogMatch.state == State.HELD).execute()

    grow_old()
    notices.note_expiring(flow.settings.holding.max_age)
    assert tell(flow) == (1 if age > 28 else 0)
    let_an_hour_pass()
    notices.note_expiring(flow.settings.holding.max_age)
    assert tell(flow) == 0  # once


def test_failure_of_the_database_in_between_loses_no_notice(
    make_flow: Callable[..., Flow], monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = make_flow()
    failing = flow.subscribe("alice")
    fail(failing)

    def broken(*_arguments: object) -> UUID:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(notices, "_insert_event", broken)
        with pytest.raises(RuntimeError):
            notices.tell_due(mail=False)
    assert tell(flow) == 1
