"""How many subscriptions a user may have, and masks for what is secret in them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.fernet import Fernet

from pacifica.notifications.orm.secrets import Keyring
from tests.integration.webservice import SUBSCRIPTION, Service, assert_error, running
from tests.support import databases
from tests.support.subscribed import BASIC, BEARER

EnvironmentIn = Callable[[Path], dict[str, str]]


@pytest.fixture(scope="module")
def discreet(
    tmp_path_factory: pytest.TempPathFactory, environment_in: EnvironmentIn, migrated: Path
) -> Iterator[Service]:
    """Run a server that encrypts and masks secrets, and lets a user have three subscriptions."""
    folder = tmp_path_factory.mktemp("discreet")
    (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
    told = {
        "SECURITY_KEY": Fernet.generate_key().decode(),
        "SECURITY_MASK_AUTH": "yes",
        "EVENTMATCH_MAX_SUBSCRIPTIONS": "3",
    }
    with running({**environment_in(folder), **told}, folder) as service:
        yield service


def test_post_is_403_and_says_how_many_when_a_user_has_as_many_as_one_may(
    discreet: Service, user: str
) -> None:
    created = [discreet.create(user) for _ in range(3)]
    answer = discreet.call("POST", "/eventmatch", user, SUBSCRIPTION)
    assert_error(answer, 403, "as many subscriptions as one user may have: 3")
    assert discreet.call("GET", "/eventmatch", user).json() == created
    discreet.create(f"{user}-other")
    discreet.call("DELETE", f"/eventmatch/{created[0]['uuid']}", user)
    discreet.create(user)


def test_owner_reads_masks_and_a_masked_body_changes_nothing_when_it_is_put_back(
    discreet: Service, user: str
) -> None:
    created = discreet.create(user, auth=BASIC)
    shown = {"type": "basic", "basic": {"username": "bob", "password": "***"}}
    path = f"/eventmatch/{created['uuid']}"
    assert created["auth"] == shown
    assert discreet.call("GET", path, user).json() == created
    assert discreet.call("GET", "/eventmatch", user).json() == [created]
    before = stored_auth(discreet, created)
    put = discreet.call("PUT", path, user, created)
    assert (put.status_code, put.json()["auth"]) == (200, shown)
    put = discreet.call("PUT", path, user, {**put.json(), "name": "changed"})
    assert (put.json()["name"], put.json()["auth"]) == ("changed", shown)
    assert stored_auth(discreet, created) == before == BASIC


def test_auth_is_changed_when_its_secret_is_given_beside_masks_elsewhere(
    discreet: Service, user: str
) -> None:
    created = discreet.create(user, auth=BASIC)
    path = f"/eventmatch/{created['uuid']}"
    other = {"type": "basic", "basic": {"username": "eve", "password": "open"}}
    put = discreet.call("PUT", path, user, {"auth": other})
    assert put.json()["auth"]["basic"] == {"username": "eve", "password": "***"}
    assert stored_auth(discreet, created) == other
    assert discreet.call("PUT", path, user, {"auth": BEARER}).json()["auth"] == {
        "type": "header",
        "header": {"type": "Bearer", "credentials": "***"},
    }
    assert discreet.call("PUT", path, user, {"auth": None}).json()["auth"] == {}


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_mask_is_400_and_names_its_field_when_it_stands_beside_something_new(
    discreet: Service, user: str, method: str
) -> None:
    created = discreet.create(user, auth=BASIC)
    path = "/eventmatch" if method == "POST" else f"/eventmatch/{created['uuid']}"
    auth = {"type": "basic", "basic": {"username": "eve", "password": "***"}}
    answer = discreet.call(method, path, user, {**SUBSCRIPTION, "auth": auth})
    assert_error(answer, 400)
    assert answer.json()["fields"] == [
        {"field": "auth.basic.password", "reason": "is masked; give the password again"}
    ]
    assert stored_auth(discreet, created) == BASIC


def test_mask_is_a_password_like_any_other_when_nothing_is_masked(
    service: Service, user: str
) -> None:
    auth = {"type": "basic", "basic": {"username": "bob", "password": "***"}}
    assert service.create(user, auth=auth)["auth"] == auth


def stored_auth(service: Service, subscription: dict[str, Any]) -> Any:
    """Return what is stored, decrypted; it must not be there in plain."""
    uuid = UUID(subscription["uuid"]).hex
    rows = databases.execute(
        service.environment["PEEWEE_URL"],
        f"SELECT auth FROM eventmatch WHERE uuid = '{uuid}'",  # noqa: S608
    )
    assert "sesame" not in rows[0][0]
    return json.loads(Keyring([service.environment["SECURITY_KEY"]]).decrypted(rows[0][0]))
