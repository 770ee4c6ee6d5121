"""`/eventmatch/UUID/delivery`: how a subscription wants its events, over HTTP."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.webservice import Service, assert_error, exchange, raw_get, running

DEFAULT = {
    "specversion": None,
    "mode": "structured",
    "format": "event",
    "digest": "each",
    "tell_owner": True,
}
METHODS = ["GET", "HEAD", "PUT"]


def path_of(subscription: dict[str, Any] | str) -> str:
    uuid = subscription if isinstance(subscription, str) else subscription["uuid"]
    return f"/eventmatch/{uuid}/delivery"


@pytest.fixture
def subscription(service: Service, user: str) -> dict[str, Any]:
    return service.create(user)


def test_get_answers_each_events_own_version_when_no_format_was_chosen(
    service: Service, user: str, subscription: dict[str, Any]
) -> None:
    response = service.call("GET", path_of(subscription), user)
    assert (response.status_code, response.json()) == (200, DEFAULT)
    assert list(response.json()) == list(DEFAULT)
    assert response.headers["Content-Type"] == "application/json"


def test_head_answers_as_get_without_body(
    service: Service, user: str, subscription: dict[str, Any]
) -> None:
    get = service.call("GET", path_of(subscription), user)
    head = service.call("HEAD", path_of(subscription), user)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize("specversion", [None, "0.1", "0.3", "1.0"])
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_put_answers_and_keeps_the_format(
    service: Service,
    user: str,
    subscription: dict[str, Any],
    specversion: str | None,
    mode: str,
) -> None:
    wanted = {"specversion": specversion, "mode": mode}
    response = service.call("PUT", path_of(subscription), user, wanted)
    expected = {**DEFAULT, **wanted}
    assert (response.status_code, response.json()) == (200, expected)
    assert service.call("GET", path_of(subscription), user).json() == expected


def test_put_keeps_what_its_body_does_not_name(
    service: Service, user: str, subscription: dict[str, Any]
) -> None:
    for body, expected in (
        ({"mode": "binary"}, {"mode": "binary"}),
        ({"specversion": "1.0"}, {"specversion": "1.0", "mode": "binary"}),
        ({"format": "discord"}, {"specversion": "1.0", "mode": "binary", "format": "discord"}),
        ({"format": "event"}, {"specversion": "1.0", "mode": "binary"}),
        ({"digest": "daily"}, {"specversion": "1.0", "mode": "binary", "digest": "daily"}),
        (
            {"specversion": None, "tell_owner": False},
            {"mode": "binary", "digest": "daily", "tell_owner": False},
        ),
    ):
        answer = service.call("PUT", path_of(subscription), user, body)
        assert answer.json() == {**DEFAULT, **expected}


def test_put_touches_the_subscription_and_changes_nothing_else_of_it(
    service: Service, user: str, subscription: dict[str, Any]
) -> None:
    service.call("PUT", path_of(subscription), user, {"specversion": "1.0"})
    after = service.call("GET", f"/eventmatch/{subscription['uuid']}", user).json()
    assert after["updated"] > subscription["updated"]
    assert {**after, "updated": subscription["updated"]} == subscription


def test_format_stays_when_the_subscription_is_changed(
    service: Service, user: str, subscription: dict[str, Any]
) -> None:
    service.call("PUT", path_of(subscription), user, {"specversion": "1.0", "mode": "binary"})
    path = f"/eventmatch/{subscription['uuid']}"
    assert service.call("PUT", path, user, {"name": "other"}).status_code == 200
    wanted = service.call("GET", path_of(subscription), user).json()
    assert wanted == {**DEFAULT, "specversion": "1.0", "mode": "binary"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"specversion": "0.2"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"mode": None}, "mode"),
        ({"mode": "batched"}, "mode"),
        ({"format": "html"}, "format"),
        ({"format": None}, "format"),
        ({"digest": "weekly"}, "digest"),
        ({"tell_owner": "no"}, "tell_owner"),
        ({"mode": "binary", "uuid": "x"}, "uuid"),
        ({"user": "somebody"}, "user"),
        ([], "body"),
        (b"{", "body"),
    ],
    ids=str,
)
def test_put_is_400_with_the_field_when_the_body_is_wrong(
    service: Service, user: str, subscription: dict[str, Any], body: Any, field: str
) -> None:
    response = service.call("PUT", path_of(subscription), user, body)
    assert_error(response, 400, field)
    assert [each["field"] for each in response.json()["fields"]] == [field]
    assert service.call("GET", path_of(subscription), user).json() == DEFAULT


@pytest.mark.parametrize("specversion", ["0.3", "1.0"])
def test_put_is_400_when_the_version_does_not_allow_the_subscriptions_extensions(
    service: Service, user: str, specversion: str
) -> None:
    subscription = service.create(user, extensions={"Color": "red", "id": "x", "fine": 1})
    response = service.call("PUT", path_of(subscription), user, {"specversion": specversion})
    assert_error(response, 400, "extensions.Color: must be lower-case letters and digits")
    fields = [each["field"] for each in response.json()["fields"]]
    assert fields == ["extensions.Color", "extensions.id"]
    assert service.call("GET", path_of(subscription), user).json() == DEFAULT
    for other in ("0.1", None):
        wanted = {"specversion": other}
        assert service.call("PUT", path_of(subscription), user, wanted).status_code == 200


def test_extensions_are_400_when_the_version_that_is_chosen_does_not_allow_them(
    service: Service, user: str, subscription: dict[str, Any]
) -> None:
    service.call("PUT", path_of(subscription), user, {"specversion": "1.0"})
    path = f"/eventmatch/{subscription['uuid']}"
    refused = service.call("PUT", path, user, {"extensions": {"fine": 1, "deep": {}}})
    assert_error(refused, 400, "extensions.deep: must be a string, a boolean or a whole number")
    assert service.call("GET", path, user).json() == subscription | {
        "updated": service.call("GET", path, user).json()["updated"]
    }
    assert service.call("PUT", path, user, {"extensions": {"fine": 1}}).status_code == 200


@pytest.mark.parametrize("method", METHODS)
def test_somebody_elses_and_deleted_ones_are_answered_as_unknown_ones(
    service: Service, user: str, subscription: dict[str, Any], method: str
) -> None:
    deleted = service.create(user)
    service.call("DELETE", f"/eventmatch/{deleted['uuid']}", user)
    body = {"mode": "binary"} if method == "PUT" else None
    answers = [
        service.call(method, path_of(each), caller, body)
        for each, caller in (
            (str(uuid4()), user),
            (subscription, f"{user}-other"),
            (subscription, user.upper()),
            (deleted, user),
        )
    ]
    assert [each.status_code for each in answers] == [403] * 4
    assert len({each.content for each in answers}) == 1
    assert service.call("GET", path_of(subscription), user).json() == DEFAULT


@pytest.mark.parametrize("body", [{"mode": "wrong"}, {"user": "x"}, b"{", []], ids=str)
def test_malformed_body_is_answered_the_same_whoever_a_subscription_belongs_to(
    service: Service, user: str, subscription: dict[str, Any], body: Any
) -> None:
    unknown, other = (
        service.call("PUT", path_of(each), f"{user}-other", body)
        for each in (str(uuid4()), subscription)
    )
    assert unknown.status_code == 400
    assert (other.status_code, other.content) == (400, unknown.content)


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "OPTIONS"])
def test_method_is_405_with_those_that_there_are_when_there_is_no_such(
    service: Service, user: str, subscription: dict[str, Any], method: str
) -> None:
    response = service.call(method, path_of(subscription), user)
    assert_error(response, 405, f"{method} is not allowed here")
    assert response.headers["Allow"] == "GET, HEAD, PUT"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/eventmatch/{uuid}/delivery/", 200),
        ("/eventmatch/{uuid}/other", 404),
        ("/eventmatch/{uuid}/Delivery", 404),
        ("/eventmatch/{uuid}/delivery/more", 404),
        ("/eventmatch/delivery/{uuid}", 404),
        ("/eventmatch/delivery", 400),
        ("/eventmatch/text/delivery", 400),
        ("/eventmatch/{uuid}/delivery?a=1", 400),
        ("/delivery", 404),
    ],
)
def test_path_is_what_it_is_and_nothing_near_it(
    service: Service, user: str, subscription: dict[str, Any], path: str, status: int
) -> None:
    response = service.call("GET", path.format(uuid=subscription["uuid"]), user)
    assert response.status_code == status, response.text
    if status != 200:
        assert_error(response, status)


def test_request_that_does_not_come_through_the_proxy_is_403(
    prepared: dict[str, str], tmp_path: Path, user: str
) -> None:
    environment = {**prepared, "NOTIFICATIONS_PROXY_SECRET": "sesame"}
    with running(environment, tmp_path) as guarded:
        for method in (*METHODS, "POST"):
            refused = guarded.call(method, path_of(str(uuid4())), user)
            assert refused.status_code == 403
            assert method == "HEAD" or "from the authenticating proxy alone" in refused.text


def test_user_is_needed_as_for_the_subscription_itself(
    service: Service, subscription: dict[str, Any]
) -> None:
    header = b"Http-Remote-User: a&b"
    answer = exchange(service.port, raw_get(path_of(subscription), header))
    assert_error(answer, 400, "Http-Remote-User")
