"""What dbsync makes of credentials in the target URLs of 0.5.2."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from pacifica.notifications.__main__ import cmd
from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import DB, EventMatch
from pacifica.notifications.store.revisions import current_revision, read_subscriptions
from pacifica.notifications.store.url_credentials import move_url_credentials
from tests.support import databases

BEARER = {"type": "header", "header": {"type": "Bearer", "credentials": "token"}}
OWN = {"type": "basic", "basic": {"username": "own", "password": "own"}}


def basic(user: str, password: str) -> dict[str, Any]:
    return {"type": "basic", "basic": {"username": user, "password": password}}


def stored(url: str, auth: Any = None, **columns: Any) -> UUID:
    row = EventMatch.create(
        name="n", jsonpath="$", user="alice", target_url=url, auth=json.dumps(auth or {}), **columns
    )
    return row.uuid


def read(uuid: UUID) -> tuple[str, Any]:
    row = EventMatch.get_by_id(uuid)
    return row.target_url, json.loads(row.auth)


@pytest.mark.usefixtures("database")
def test_credentials_are_sent_as_before() -> None:
    """What 0.5.2 sent for each of these was measured."""
    expected = {
        stored("http://bob:sesame@h:8/p?q=1"): ("http://h:8/p?q=1", basic("bob", "sesame")),
        stored("https://bob:p%40ss%2F@h/"): ("https://h/", basic("bob", "p@ss/")),
        stored("https://b%3Ao:b@h/"): ("https://h/", basic("b", "o:b")),
        stored("http://bob:@h/"): ("http://h/", basic("bob", "")),
        stored("http://bob@h/"): ("http://h/", {}),
        stored("http://bob:sesame@h/", BEARER): ("http://h/", basic("bob", "sesame")),
        stored("http://bob:sesame@h/", OWN): ("http://h/", OWN),
    }
    assert move_url_credentials() == len(expected)
    assert {uuid: read(uuid) for uuid in expected} == expected


@pytest.mark.usefixtures("database")
def test_other_urls_stay() -> None:
    urls = ["http://h/a@b", "http://h/?to=a@b", "http://[h@", "http://h/"]
    uuids = [stored(url, BEARER) for url in urls]
    assert move_url_credentials() == 0
    assert [read(uuid) for uuid in uuids] == [(url, BEARER) for url in urls]


@pytest.mark.usefixtures("database")
def test_deleted_subscription_keeps_no_credentials() -> None:
    uuid = stored("http://bob:sesame@h/", deleted=utcnow() - timedelta(days=1))
    assert move_url_credentials() == 1
    assert read(uuid) == ("http://h/", {})


@pytest.mark.usefixtures("database")
def test_workers_learn_of_the_change() -> None:
    uuid, before = stored("http://bob:sesame@h/"), current_revision()
    move_url_credentials()
    assert current_revision() > before
    changed = read_subscriptions([uuid])[uuid].value
    assert changed is not None
    assert changed.auth == basic("bob", "sesame")
    assert changed.revision == current_revision()


@pytest.mark.usefixtures("database")
def test_many_are_moved() -> None:
    with EventMatch.atomic():
        uuids = [stored(f"http://bob:{number}@h/") for number in range(450)]
    assert move_url_credentials() == 450
    assert [read(uuid)[1]["basic"]["password"] for uuid in uuids] == [str(n) for n in range(450)]


def test_dbsync_says_how_many_and_encrypts_them(
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uuid = stored("http://bob:sesame@h/")
    monkeypatch.setenv("SECURITY_KEY", Fernet.generate_key().decode())
    DB.unbind()
    assert cmd("dbsync") == 0
    said = "credentials in the target_url of 1 subscriptions are in their auth now\n"
    assert capsys.readouterr().out == said
    ((url, auth),) = databases.execute(database, "SELECT target_url, auth FROM eventmatch")
    assert url == "http://h/"
    assert auth.startswith("fernet:")
    assert read(uuid)[1] == basic("bob", "sesame")
    assert cmd("dbsync") == 0
    assert capsys.readouterr().out == ""
