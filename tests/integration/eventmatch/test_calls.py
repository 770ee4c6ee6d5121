"""What each call of `/eventmatch` answers, and to whom."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.webservice import SUBSCRIPTION, Service, assert_error
from tests.support.subscribed import BASIC, BEARER

KEYS = [
    *("uuid", "name", "jsonpath", "user", "disabled", "error", "target_url"),
    *("version", "extensions", "auth", "created", "updated", "deleted"),
]
MICROSECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


def test_post_answers_new_object_when_body_has_what_is_required(
    service: Service, user: str
) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    response = service.call("POST", "/eventmatch", user, SUBSCRIPTION)
    after = datetime.now(UTC).replace(tzinfo=None)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    created = response.json()
    assert list(created) == KEYS
    dates = [created.pop(name) for name in ("created", "updated")]
    assert all(MICROSECONDS.fullmatch(date) for date in dates)
    assert all(before <= datetime.fromisoformat(date) <= after for date in dates)
    assert created.pop("uuid")
    assert created == {
        **SUBSCRIPTION,
        "user": user,
        "disabled": None,
        "error": None,
        "version": "v0.1",
        "extensions": {},
        "auth": {},
        "deleted": None,
    }


def test_post_keeps_extensions_and_auth_when_they_are_given(service: Service, user: str) -> None:
    given = {"extensions": {"color": {"é": [1, None]}}, "auth": BASIC}
    created = service.create(user, **given)
    assert {name: created[name] for name in given} == given
    assert service.call("GET", f"/eventmatch/{created['uuid']}", user).json() == created


def test_post_takes_body_when_it_has_no_content_type(service: Service, user: str) -> None:
    response = service.session.post(
        service.url + "/eventmatch",
        data=json.dumps(SUBSCRIPTION).encode(),
        headers={"Http-Remote-User": user, "Content-Type": ""},
        timeout=20,
    )
    assert response.status_code == 200


def test_get_answers_empty_array_when_caller_has_none(service: Service, user: str) -> None:
    response = service.call("GET", "/eventmatch", user)
    assert (response.status_code, response.json()) == (200, [])
    assert response.headers["Content-Type"] == "application/json"


def test_get_answers_own_objects_oldest_first_when_there_are_several(
    service: Service, user: str
) -> None:
    created = [service.create(user, name=name) for name in "cab"]
    service.create(f"{user}-other")
    service.call("PUT", f"/eventmatch/{created[0]['uuid']}", user, {"error": "touched"})
    service.call("DELETE", f"/eventmatch/{created[1]['uuid']}", user)
    listed = service.call("GET", "/eventmatch", user).json()
    assert [each["name"] for each in listed] == ["c", "b"]


@pytest.mark.parametrize(
    "spelling",
    [str, lambda uuid: uuid.upper(), lambda uuid: uuid.replace("-", ""), lambda uuid: uuid + "/"],
    ids=["plain", "upper case", "without hyphens", "trailing slash"],
)
def test_get_answers_object_when_uuid_is_spelled_otherwise(
    service: Service, user: str, spelling: Any
) -> None:
    created = service.create(user)
    response = service.call("GET", f"/eventmatch/{spelling(created['uuid'])}", user)
    assert (response.status_code, response.json()) == (200, created)
    assert response.headers["Content-Type"] == "application/json"


def test_head_answers_as_get_without_body(service: Service, user: str) -> None:
    uuid = service.create(user)["uuid"]
    for path in ("/eventmatch", f"/eventmatch/{uuid}"):
        got, head = service.call("GET", path, user), service.call("HEAD", path, user)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["Content-Length"] == str(len(got.content))


def test_put_keeps_what_body_does_not_name(service: Service, user: str) -> None:
    created = service.create(user, extensions={"a": 1}, auth=BEARER)
    response = service.call("PUT", f"/eventmatch/{created['uuid']}", user, {"name": "new"})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    updated = response.json()
    assert list(updated) == KEYS
    assert updated["updated"] > created["updated"]
    assert updated == {**created, "name": "new", "updated": updated["updated"]}
    assert service.call("GET", f"/eventmatch/{created['uuid']}", user).json() == updated


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({"jsonpath": "$.other"}, {"jsonpath": "$.other"}),
        ({"target_url": "https://other.example:8443/"}, None),
        ({"extensions": {}}, {"extensions": {}}),
        ({"auth": None}, {"auth": {}}),
        ({"auth": {}}, {"auth": {}}),
        ({"auth": BASIC}, {"auth": BASIC}),
        ({"error": "mine\nlong\té"}, None),
        ({"disabled": "2018-08-02T13:53:05.838827"}, None),
        ({"disabled": "2018-08-02T13:53:05"}, {"disabled": "2018-08-02T13:53:05.000000"}),
        ({"disabled": "2018-08-02T15:53:05+02:00"}, {"disabled": "2018-08-02T13:53:05.000000"}),
        ({}, {}),
    ],
    ids=str,
)
def test_put_changes_what_body_names(
    service: Service, user: str, changes: dict[str, Any], stored: dict[str, Any] | None
) -> None:
    created = service.create(user, extensions={"a": 1}, auth=BEARER)
    path = f"/eventmatch/{created['uuid']}"
    updated = service.call("PUT", path, user, changes).json()
    expected = changes if stored is None else stored
    assert updated == {**created, **expected, "updated": updated["updated"]}
    assert service.call("GET", path, user).json() == updated


def test_put_enables_again_when_disabled_is_null(service: Service, user: str) -> None:
    path = f"/eventmatch/{service.create(user)['uuid']}"
    disabled = service.call(
        "PUT", path, user, {"disabled": "2020-01-01T00:00:00", "error": "target away"}
    ).json()
    assert (disabled["disabled"], disabled["error"]) == (
        "2020-01-01T00:00:00.000000",
        "target away",
    )
    enabled = service.call("PUT", path, user, {"disabled": None, "error": None}).json()
    assert (enabled["disabled"], enabled["error"]) == (None, None)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"disabled": None}, None),
        ({"disabled": None, "error": "target away"}, None),  # as it was read
        ({"disabled": None, "error": "my note"}, "my note"),
        ({"name": "other"}, "target away"),
    ],
    ids=str,
)
def test_put_clears_error_when_it_enables(
    service: Service, user: str, body: dict[str, Any], error: str | None
) -> None:
    path = f"/eventmatch/{service.create(user)['uuid']}"
    disabled = {"disabled": "2020-01-01T00:00:00", "error": "target away"}
    service.call("PUT", path, user, disabled)
    assert service.call("PUT", path, user, body).json()["error"] == error
    assert service.call("GET", path, user).json()["error"] == error


@pytest.mark.parametrize("changes", [{}, {"name": "edited"}], ids=["unchanged", "edited"])
def test_put_takes_whole_body_of_get(service: Service, user: str, changes: dict[str, Any]) -> None:
    created = service.create(user, extensions={"a": [1, 2.5, "é"]}, auth=BASIC)
    path = f"/eventmatch/{created['uuid']}"
    service.call("PUT", path, user, {"disabled": "2020-01-01T00:00:00", "error": "x"})
    got = service.call("GET", path, user).json()
    response = service.call("PUT", path, user, {**got, **changes})
    assert response.status_code == 200, response.text
    assert response.json() == {**got, **changes, "updated": response.json()["updated"]}


def test_delete_answers_empty_body_and_hides_object(service: Service, user: str) -> None:
    path = f"/eventmatch/{service.create(user)['uuid']}"
    response = service.call("DELETE", path, user)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["Content-Type"] == "application/json"
    assert service.call("GET", "/eventmatch", user).json() == []
    assert_error(service.call("DELETE", path, user), 403)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_unknown_deleted_and_foreign_uuids_are_answered_alike(
    service: Service, user: str, method: str
) -> None:
    foreign, deleted = service.create(f"{user}-other"), service.create(user)
    service.call("DELETE", f"/eventmatch/{deleted['uuid']}", user)
    uuids = [str(uuid4()), deleted["uuid"], foreign["uuid"]]
    body = {"name": "taken"} if method == "PUT" else None
    answers = [service.call(method, f"/eventmatch/{uuid}", user, body) for uuid in uuids]
    for answer in answers:
        assert_error(answer, 403)
    assert len({answer.content for answer in answers}) == 1
    assert len({tuple(sorted(answer.headers)) for answer in answers}) == 1
    assert service.call("GET", "/eventmatch", f"{user}-other").json() == [foreign]


def test_names_of_users_differ_when_only_their_case_does(service: Service, user: str) -> None:
    created = service.create(user)
    assert service.call("GET", "/eventmatch", user.upper()).json() == []
    assert_error(service.call("GET", f"/eventmatch/{created['uuid']}", user.upper()), 403)
