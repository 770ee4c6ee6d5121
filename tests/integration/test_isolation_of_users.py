"""No request acts for, sees or changes a subscription of another user, whatever it says."""

from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.integration.webservice import SUBSCRIPTION, Service, assert_error, some_user

AUTH = {"type": "basic", "basic": {"username": "bob", "password": "sesame"}}
THEIRS = {
    "name": "theirs",
    "jsonpath": "$.theirs",
    "target_url": "http://192.0.2.7/theirs",
    "extensions": {"theirs": 1},
    "auth": AUTH,
}
FREE = ("name", "jsonpath", "target_url", "extensions", "auth")
ON_UPDATE = ("disabled", "error")
FIXED = ("uuid", "user", "version", "created", "updated", "deleted")
#: What a body may say of another user's subscription, with a value that is not one's own.
OTHERS = {"version": "v0.2", "deleted": "2020-01-01T00:00:00.000000", "error": "theirs"}
BODIES: dict[str, Any] = {
    "empty": {},
    "good": {"name": "changed"},
    "bad name": {"name": ""},
    "bad JSONPath": {"jsonpath": "$["},
    "bad URL": {"target_url": "ftp://x"},
    "unknown key": {"unknown": 1},
    "array": [],
    "no JSON": b"{",
    "too deep": b"[" * 500,
    "too large": b" " * 300_000,
    "nothing": b"",
}


@pytest.fixture
def theirs(service: Service) -> dict[str, Any]:
    """Give another user's subscription, which has been disabled."""
    them = some_user()
    created = service.create(them, **THEIRS)
    disabled = {"disabled": "2020-01-01T00:00:00.000000", "error": "theirs"}
    path = f"/eventmatch/{created['uuid']}"
    return service.call("PUT", path, them, disabled).json()


def as_they_see(service: Service, theirs: dict[str, Any]) -> list[dict[str, Any]]:
    return service.call("GET", "/eventmatch", theirs["user"]).json()


def nowhere(service: Service, user: str) -> dict[str, str]:
    """Return ids that are not this user's to use: one that is unknown, and one that is deleted."""
    deleted = service.create(user)["uuid"]
    assert service.call("DELETE", f"/eventmatch/{deleted}", user).status_code == 200
    return {"unknown": str(uuid4()), "deleted": deleted}


def told(answer: requests.Response) -> tuple[int, dict[str, str], bytes]:
    """Return all that an answer tells, but the time."""
    headers = {name: value for name, value in answer.headers.items() if name != "Date"}
    return answer.status_code, headers, answer.content


def other_value(theirs: dict[str, Any], key: str) -> Any:
    return OTHERS.get(key, theirs[key])


@pytest.mark.parametrize("key", FREE)
def test_post_makes_a_subscription_of_the_caller_when_it_has_values_of_another(
    service: Service, user: str, theirs: dict[str, Any], key: str
) -> None:
    created = service.create(user, **{key: theirs[key]})
    assert (created["user"], created[key]) == (user, theirs[key])
    assert created["uuid"] != theirs["uuid"]
    assert service.call("GET", "/eventmatch", user).json() == [created]
    assert as_they_see(service, theirs) == [theirs]


@pytest.mark.parametrize("key", FIXED + ON_UPDATE)
def test_post_is_refused_when_it_sets_what_only_the_service_does(
    service: Service, user: str, theirs: dict[str, Any], key: str
) -> None:
    body = {**SUBSCRIPTION, key: other_value(theirs, key)}
    assert_error(service.call("POST", "/eventmatch", user, body), 400, f"{key}: cannot be set")
    assert service.call("GET", "/eventmatch", user).json() == []
    assert as_they_see(service, theirs) == [theirs]


@pytest.mark.parametrize("key", FREE + ON_UPDATE)
def test_put_changes_the_callers_own_when_it_has_values_of_another(
    service: Service, user: str, theirs: dict[str, Any], key: str
) -> None:
    own = service.create(user)
    changed = service.call("PUT", f"/eventmatch/{own['uuid']}", user, {key: theirs[key]}).json()
    assert changed == {**own, key: theirs[key], "updated": changed["updated"]}
    assert as_they_see(service, theirs) == [theirs]


@pytest.mark.parametrize("key", FIXED)
def test_put_is_refused_when_it_sets_what_only_the_service_does(
    service: Service, user: str, theirs: dict[str, Any], key: str
) -> None:
    own = service.create(user)
    body = {"name": "changed", key: other_value(theirs, key)}
    answer = service.call("PUT", f"/eventmatch/{own['uuid']}", user, body)
    assert_error(answer, 400, f"{key}: cannot be set")
    assert service.call("GET", "/eventmatch", user).json() == [own]
    assert as_they_see(service, theirs) == [theirs]


@pytest.mark.parametrize("key", FREE + ON_UPDATE + FIXED)
def test_put_to_another_users_is_answered_as_to_an_unknown_one_whatever_it_sets(
    service: Service, user: str, theirs: dict[str, Any], key: str
) -> None:
    own = service.create(user)
    for body in ({key: own[key]}, {key: other_value(theirs, key)}, {key: user}):
        answers = [
            told(service.call("PUT", f"/eventmatch/{uuid}", user, body))
            for uuid in (theirs["uuid"], *nowhere(service, user).values())
        ]
        assert answers[0][0] == 403
        assert answers == [answers[0]] * 3
    assert as_they_see(service, theirs) == [theirs]


def test_whole_objects_cannot_be_put_across_users(
    service: Service, user: str, theirs: dict[str, Any]
) -> None:
    own = service.create(user)
    mine, other = f"/eventmatch/{own['uuid']}", f"/eventmatch/{theirs['uuid']}"
    assert_error(service.call("PUT", mine, user, theirs), 400, "uuid: cannot be set")
    assert_error(service.call("POST", "/eventmatch", user, theirs), 400, "user: cannot be set")
    for body in (own, theirs, {**theirs, "user": user}):
        assert_error(service.call("PUT", other, user, body), 403)
    assert service.call("GET", "/eventmatch", user).json() == [own]
    assert as_they_see(service, theirs) == [theirs]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_uuid_of_another_user_is_answered_as_an_unknown_or_a_deleted_one(
    service: Service, user: str, theirs: dict[str, Any], method: str, body: Any
) -> None:
    answers = [
        told(service.call(method, f"/eventmatch/{uuid}", user, body))
        for uuid in (theirs["uuid"], *nowhere(service, user).values())
    ]
    assert answers[0][0] in (400, 403, 405, 413)
    assert answers == [answers[0]] * 3
    assert as_they_see(service, theirs) == [theirs]


@pytest.mark.parametrize("spelling", [str.upper, lambda uuid: uuid.replace("-", "")])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_uuid_of_another_user_is_refused_when_it_is_spelled_otherwise(
    service: Service, user: str, theirs: dict[str, Any], method: str, spelling: Any
) -> None:
    path = f"/eventmatch/{spelling(theirs['uuid'])}"
    assert_error(service.call(method, path, user), 403)
    assert as_they_see(service, theirs) == [theirs]


def test_list_has_nothing_of_others_and_tells_not_how_many_there_are(
    service: Service, user: str, theirs: dict[str, Any]
) -> None:
    before = [told(service.call(method, "/eventmatch", user)) for method in ("GET", "HEAD")]
    for _ in range(3):
        service.create(theirs["user"])
    after = [told(service.call(method, "/eventmatch", user)) for method in ("GET", "HEAD")]
    assert before == after
    assert before[0][2] == b"[]"
