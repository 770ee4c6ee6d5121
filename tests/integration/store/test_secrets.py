"""The auth of subscriptions at rest, on every engine: keys, their rotation, and what is broken."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.orm import (
    DB,
    EventLogMatch,
    EventMatch,
    decrypt_all,
    encrypt_all,
    reencryption,
)
from pacifica.notifications.orm import check_safe as require_safe
from pacifica.notifications.orm.secrets import Keyring
from pacifica.notifications.store import deliveries, subscriptions
from pacifica.notifications.store.revisions import current_revision, read_subscriptions
from pacifica.notifications.subscriptions import new_subscription
from tests.support import databases
from tests.support.stored import LEASE, allowed, let_leases_run_out, row, state, subscribe

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
AUTH = {"type": "basic", "basic": {"username": "bob", "password": "sesame"}}
Configure = Callable[..., None]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Configure keys, as a process has them that starts now."""

    def keys(*configured: str) -> None:
        monkeypatch.setenv("SECURITY_KEY", " ".join(configured))
        DB.unbind()

    yield keys
    DB.unbind()


@pytest.fixture(autouse=True)
def _old_key(configure: Configure) -> None:
    configure(OLD)


def create(auth: Any = AUTH) -> UUID:
    body = {"name": "n", "jsonpath": "$", "target_url": "http://target.invalid/", "auth": auth}
    return UUID(subscriptions.create(new_subscription(body, "alice", 4096))["uuid"])


def auth_of(uuid: UUID) -> Any:
    """Return auth as its owner reads it."""
    found = subscriptions.one_of_user("alice", uuid)
    assert found is not None
    return found["auth"]


def store(url: str, uuid: UUID, text: str) -> None:
    """Have a text stored as it is."""
    databases.execute(url, f"UPDATE eventmatch SET auth = '{text}' WHERE {_is(url, uuid)}")  # noqa: S608


def stored(url: str, uuid: UUID) -> str:
    """Return what is stored."""
    return databases.execute(url, f"SELECT auth FROM eventmatch WHERE {_is(url, uuid)}")[0][0]  # noqa: S608


def _is(url: str, uuid: UUID) -> str:
    return f"uuid = '{uuid if url.startswith('postgresql') else uuid.hex}'"


def is_by(key: str, text: str) -> bool:
    return text.startswith(Keyring([key]).prefix or "?")


def test_auth_is_encrypted_where_it_is_stored_and_plain_where_it_is_read(database: str) -> None:
    uuid = create()
    assert is_by(OLD, stored(database, uuid))
    assert "sesame" not in stored(database, uuid)
    assert auth_of(uuid) == AUTH
    found = read_subscriptions([uuid])[uuid].value
    assert found is not None
    assert found.auth == AUTH
    assert subscriptions.page_of_user("alice", 100).subscriptions[0]["auth"] == AUTH


def test_auth_stays_plain_when_there_is_none(database: str) -> None:
    assert stored(database, create({})) == "{}"


def test_auth_is_read_when_it_was_stored_before_there_was_a_key(
    database: str, configure: Configure
) -> None:
    configure()
    uuid = create()
    assert json.loads(stored(database, uuid)) == AUTH
    configure(NEW)
    assert auth_of(uuid) == AUTH


def test_first_key_encrypts_and_all_decrypt_when_there_are_several(
    database: str, configure: Configure
) -> None:
    before = create()
    configure(NEW, OLD)
    after = create()
    assert (auth_of(before), auth_of(after)) == (AUTH, AUTH)
    assert is_by(OLD, stored(database, before))
    assert is_by(NEW, stored(database, after))


def test_auth_is_encrypted_anew_when_its_owner_changes_it(database: str) -> None:
    uuid = create()
    changed = {**AUTH, "basic": {"username": "bob", "password": "open"}}
    assert subscriptions.update("alice", uuid, lambda _stored: {"auth": changed})
    assert is_by(OLD, stored(database, uuid))
    assert auth_of(uuid) == changed


def test_nothing_is_read_sent_or_disabled_when_the_key_is_not_configured(
    database: str, configure: Configure
) -> None:
    uuid = create()
    _event, sent = allowed(uuid)
    before, revision = stored(database, uuid), current_revision()
    for keys in ((), (NEW,)):
        configure(*keys)
        for call in (
            lambda: subscriptions.page_of_user("alice", 100).subscriptions,
            lambda: subscriptions.update("alice", uuid, lambda _stored: {"name": "changed"}),
            lambda: deliveries.claim_allowed(sent, LEASE, 10),
            require_safe,
        ):
            with pytest.raises(StoreUnavailable, match=r"\[security\] key"):
                call()
        let_leases_run_out(EventLogMatch, sent)
    configure(OLD)
    assert (stored(database, uuid), current_revision()) == (before, revision)
    require_safe()
    (claimed,) = deliveries.claim_allowed(sent, LEASE, 10)
    assert claimed.subscription.auth == AUTH


def test_subscription_is_disabled_and_its_auth_reads_as_empty_when_its_token_is_corrupt(
    database: str,
) -> None:
    uuid = create()
    _event, (sent,) = allowed(uuid)
    store(database, uuid, stored(database, uuid)[:-9])
    corrupt = stored(database, uuid)
    require_safe()
    assert deliveries.claim_allowed([sent], LEASE, 10) == []
    assert state(sent)[0] == "held"
    assert auth_of(uuid) == {}
    assert "broken" in row(EventMatch, uuid).error
    subscriptions.update("alice", uuid, lambda _stored: {"name": "changed"})
    assert stored(database, uuid) == corrupt
    subscriptions.update("alice", uuid, lambda _stored: {"auth": AUTH})
    assert auth_of(uuid) == AUTH


def test_auth_is_forgotten_when_its_subscription_is_deleted(
    database: str, configure: Configure
) -> None:
    for keys in ((OLD,), ()):
        configure(*keys)
        uuid = create()
        assert subscriptions.delete("alice", uuid)
        assert stored(database, uuid) == "{}"


def test_reencryption_rewrites_what_is_plain_or_by_another_key_and_nothing_else(
    database: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "_ROWS_PER_TRANSACTION", 2)
    old = [create() for _ in range(3)]
    configure()
    plain = [create() for _ in range(3)]
    empty = create({})
    configure(NEW, OLD)
    new = create()
    everyone = [*old, *plain, empty, new]
    untouched = [stored(database, uuid) for uuid in (new, empty)]
    before = [(row(EventMatch, uuid).updated, row(EventMatch, uuid).revision) for uuid in everyone]
    revision = current_revision()

    done = encrypt_all()
    assert (done.rows, done.missed, done.corrupt) == (6, 0, ())
    assert all(is_by(NEW, stored(database, uuid)) for uuid in old + plain)
    assert [stored(database, uuid) for uuid in (new, empty)] == untouched
    configure(NEW)
    assert [auth_of(uuid) for uuid in everyone] == [AUTH] * 6 + [{}, AUTH]
    after = [(row(EventMatch, uuid).updated, row(EventMatch, uuid).revision) for uuid in everyone]
    assert (after, current_revision()) == (before, revision)
    assert encrypt_all().rows == 0


def test_decryption_stores_all_in_plain(database: str, configure: Configure) -> None:
    uuids = [create(), create({})]
    configure(NEW, OLD)
    uuids.append(create())
    assert decrypt_all().rows == 2
    configure()
    assert [json.loads(stored(database, uuid)) for uuid in uuids] == [AUTH, {}, AUTH]
    require_safe()
    assert decrypt_all().rows == 0


def test_reencryption_leaves_what_is_corrupt_and_names_it(
    database: str, configure: Configure
) -> None:
    corrupt, sound = create(), create()
    store(database, corrupt, stored(database, corrupt)[:-9])
    before = stored(database, corrupt)
    configure(NEW, OLD)
    for rewrite, rows in ((encrypt_all, 1), (decrypt_all, 1)):
        done = rewrite()
        assert (done.rows, done.corrupt) == (rows, (corrupt,))
        assert stored(database, corrupt) == before
    assert auth_of(sound) == AUTH


def test_reencryption_begins_nothing_when_a_key_is_not_configured(
    database: str, configure: Configure
) -> None:
    uuid = create()
    before = stored(database, uuid)
    configure(NEW)
    for rewrite in (encrypt_all, decrypt_all):
        with pytest.raises(StoreUnavailable, match=r"\[security\] key"):
            rewrite()
    assert stored(database, uuid) == before


def test_reencryption_keeps_a_change_that_was_made_after_it_had_read(database: str) -> None:
    if database.startswith("sqlite"):
        pytest.skip("on SQLite nothing changes while another transaction writes")
    uuid = create()
    newer = '{"type": "header"}'

    def rewritten(text: str) -> str:
        store(database, uuid, newer)
        return f"rewritten {text}"

    done = reencryption._rewrite(reencryption._holds_nothing(), rewritten)
    assert (done.rows, done.missed) == (0, 1)
    assert stored(database, uuid) == newer


def test_owners_change_their_auth_and_nothing_is_lost_while_all_is_reencrypted(
    database: str, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reencryption, "_ROWS_PER_TRANSACTION", 5)
    uuids = [create() for _ in range(30)]
    configure(NEW, OLD)
    auths = [{**AUTH, "basic": {"username": "bob", "password": str(n)}} for n in range(10)]

    def change(number: int) -> None:
        for uuid, auth in zip(uuids[::3], auths, strict=True):
            changed = {"auth": auth} if number else {"name": "changed"}
            assert subscriptions.update("alice", uuid, lambda _stored, to=changed: to)

    with ThreadPoolExecutor(3) as threads:
        changing = [threads.submit(change, number) for number in range(2)]
        encrypt_all()
        for each in changing:
            each.result()
    encrypt_all()
    assert all(is_by(NEW, stored(database, uuid)) for uuid in uuids)
    assert [auth_of(uuid) for uuid in uuids[::3]] == auths
    assert [auth_of(uuid) for uuid in uuids[1::3]] == [AUTH] * 10


def test_bulk_of_subscriptions_without_key_is_untouched_by_a_check(
    configure: Configure,
) -> None:
    configure()
    subscribe()
    require_safe()
