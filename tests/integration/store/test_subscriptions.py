"""Subscriptions on every engine: their revisions, and whose they are."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import EventMatch
from pacifica.notifications.store import holding, subscriptions
from pacifica.notifications.store.revisions import (
    Change,
    advance_revision,
    changed_since,
    current_revision,
)
from tests.support.stored import row, subscribe


def test_every_change_of_a_subscription_advances_the_revision() -> None:
    seen = [current_revision()]
    to = subscribe()
    for change in (
        lambda: None,
        lambda: subscriptions.update("alice", to, lambda _stored: {"name": "changed"}),
        lambda: holding.disable(to, "error"),
        lambda: subscriptions.delete("alice", to),
    ):
        change()
        seen.append(current_revision())
        assert row(EventMatch, to).revision == seen[-1]
    assert seen == list(range(seen[0], seen[0] + 5))


def test_changed_since_gives_each_changed_subscription_as_matching_sees_it() -> None:
    before = current_revision()
    plain, own, held, failed, gone, changed = (subscribe() for _ in range(6))
    subscriptions.update("alice", own, lambda _stored: {"disabled": utcnow()})
    holding.disable(held, "error")
    holding.disable(failed, "too much", unmatched=True)
    subscriptions.delete("alice", gone)
    between = current_revision()
    subscriptions.update("alice", changed, lambda _stored: {"jsonpath": "$.other"})
    now = current_revision()
    expected = [
        Change(plain, "alice", "$.data", unmatched=False),
        Change(own, "alice", None, unmatched=False),
        Change(held, "alice", "$.data", unmatched=False),
        Change(failed, "alice", "$.data", unmatched=True),
        Change(gone, "alice", None, unmatched=False),
    ]
    other = Change(changed, "alice", "$.other", unmatched=False)

    def found(revision: int, upto: int) -> list[Change]:
        order = [plain, own, held, failed, gone, changed]
        return sorted(changed_since(revision, upto), key=lambda each: order.index(each.uuid))

    assert found(before, between) == expected
    assert found(before, now) == [*expected, other]
    assert found(between, now) == [other]
    assert found(now, now) == []


def test_concurrent_changes_have_different_revisions() -> None:
    before = current_revision()
    with ThreadPoolExecutor(4) as threads:
        revisions = list(threads.map(lambda _: advance_revision(), range(40)))
    assert sorted(revisions) == list(range(before + 1, before + 41))


def test_revision_stays_when_a_change_fails() -> None:
    to, before = subscribe(), current_revision()

    def refuse(_stored: dict[str, Any]) -> dict[str, Any]:
        raise KeyError

    with pytest.raises(KeyError):
        subscriptions.update("alice", to, refuse)
    assert subscriptions.update("bob", to, refuse) is None
    assert row(EventMatch, to).revision <= current_revision()
    assert changed_since(before, current_revision()) == []


@pytest.mark.parametrize("other", ["Alice", "ALICE", "álice", "alice ", "alic"])
def test_users_with_names_that_look_alike_do_not_see_each_other(other: str) -> None:
    mine, theirs = subscribe("alice"), subscribe(other)
    assert [each["uuid"] for each in subscriptions.page_of_user("alice", 100).subscriptions] == [
        str(mine)
    ]
    assert [each["uuid"] for each in subscriptions.page_of_user(other, 100).subscriptions] == [
        str(theirs)
    ]
    assert subscriptions.one_of_user(other, mine) is None
    assert subscriptions.update(other, mine, lambda _stored: {"name": "taken"}) is None
    assert not subscriptions.delete(other, mine)
    stored = subscriptions.one_of_user("alice", mine)
    assert stored is not None
    assert stored["name"] == "n"


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_together_have_each_subscription_once_oldest_first(limit: int) -> None:
    moments = [utcnow() - timedelta(days=days) for days in (3, 1, 1, 1, 2, 1, 4)]
    uuids = [subscribe("alice") for _ in moments]
    for uuid, moment in zip(uuids, moments, strict=True):
        EventMatch.update(created=moment).where(EventMatch.uuid == uuid).execute()
    subscribe("bob")
    assert subscriptions.delete("alice", subscribe("alice"))
    found, last, pages = [], None, 0
    while pages == 0 or last is not None:
        page = subscriptions.page_of_user("alice", limit, last)
        assert len(page.subscriptions) == min(limit, len(uuids) - len(found))
        found += page.subscriptions
        last, pages = page.last, pages + 1
    assert sorted(each["uuid"] for each in found) == sorted(map(str, uuids))
    assert [each["created"] for each in found] == sorted(each["created"] for each in found)
    assert pages == -(-len(uuids) // limit)
