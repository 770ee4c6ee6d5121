"""The pages of a list of subscriptions."""

import pytest

from tests.integration.webservice import SUBSCRIPTION, Service, assert_error


def test_pages_have_all_objects_once_when_each_links_to_the_next(
    service: Service, user: str
) -> None:
    created = [service.create(user, name=str(number)) for number in range(5)]
    path, pages = "/eventmatch?limit=2", []
    while path:
        answer = service.call("GET", path, user)
        assert answer.status_code == 200
        pages.append(answer.json())
        link = answer.links.get("next", {}).get("url", "")
        assert link != path
        path = link
    assert pages == [created[:2], created[2:4], created[4:]]
    head = service.call("HEAD", "/eventmatch?limit=2", user)
    assert (head.status_code, head.links["next"]["rel"], head.content) == (200, "next", b"")


def test_page_goes_on_where_the_one_before_ended_when_objects_come_and_go(
    service: Service, user: str
) -> None:
    created = [service.create(user) for _ in range(4)]
    following = service.call("GET", "/eventmatch?limit=2", user).links["next"]["url"]
    for gone in created[:2]:
        service.call("DELETE", f"/eventmatch/{gone['uuid']}", user)
    created.append(service.create(user))
    assert service.call("GET", following, user).json() == created[2:4]
    assert service.call("GET", following, f"{user}-other").json() == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *((f"limit={limit}", "limit") for limit in ("0", "201", "-1", "", "1.0", "x", "9" * 5000)),
        *(("limit=1&limit=1", "limit"), ("limit=%C2%B2", "limit")),
        *(("cursor=", "cursor"), ("cursor=x", "cursor"), ("cursor=1-", "cursor")),
        (f"cursor={'9' * 17}-{'a' * 32}", "cursor"),
        (f"cursor=1-{'a' * 32}&cursor=1-{'a' * 32}", "cursor"),
    ],
)
def test_page_is_400_when_limit_or_cursor_cannot_be_used(
    service: Service, user: str, query: str, field: str
) -> None:
    answer = service.call("GET", f"/eventmatch?{query}", user)
    assert_error(answer, 400)
    assert [each["field"] for each in answer.json()["fields"]] == [field]


@pytest.mark.parametrize("query", ["?limit=1&offset=2", "?limits=1", "?Limit=1"])
def test_page_is_400_when_a_parameter_is_unknown(service: Service, user: str, query: str) -> None:
    assert_error(service.call("GET", f"/eventmatch{query}", user), 400, "limit and cursor")


def test_limit_is_400_when_no_list_is_read(service: Service, user: str) -> None:
    path = f"/eventmatch/{service.create(user)['uuid']}"
    for method, target in (("GET", path), ("GET", f"{path}/delivery"), ("PUT", path)):
        body = {} if method == "PUT" else None
        assert_error(service.call(method, f"{target}?limit=1", user, body), 400, "limit")
    assert_error(service.call("POST", "/eventmatch?limit=1", user, SUBSCRIPTION), 400, "limit")
