"""`/eventmatch` as its callers see it: every rule of the API, over HTTP."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st

from pacifica.notifications.orm.secrets import Keyring
from pacifica.notifications.subscriptions import SUBSCRIPTION_SCHEMA as SCHEMA
from tests.integration.webservice import (
    SUBSCRIPTION,
    Service,
    assert_error,
    assert_nothing_from_inside,
    exchange,
    raw_get,
    running,
)
from tests.support import databases

KEYS = [
    *("uuid", "name", "jsonpath", "user", "disabled", "error", "target_url"),
    *("version", "extensions", "auth", "created", "updated", "deleted"),
]
MICROSECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
EnvironmentIn = Callable[[Path], dict[str, str]]
UNKNOWN = "c81278a3-02f5-42bd-bff3-3c9d3d485b2e"
BASIC = {"type": "basic", "basic": {"username": "bob", "password": "sesame"}}
BEARER = {"type": "header", "header": {"type": "Bearer", "credentials": "tok.en=="}}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


# What each call answers.


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


# Whose objects they are.


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


# What a caller may set.


@pytest.mark.parametrize(
    "field",
    [
        {"uuid": UNKNOWN},
        {"user": "somebody else"},
        {"created": "2018-08-02T13:53:05.838827"},
        {"updated": "2018-08-02T13:53:05.838827"},
        {"deleted": "2018-08-02T13:53:05.838827"},
        {"deleted": False},
        {"version": "v0.2"},
        {"id": 1},
        {"unknown": None},
        {"\ud800": 1},
        {"": 1},
    ],
    ids=ascii,
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_field_is_refused_when_callers_may_not_set_it(
    service: Service, user: str, method: str, field: dict[str, Any]
) -> None:
    created = service.create(user)
    path = "/eventmatch" if method == "POST" else f"/eventmatch/{created['uuid']}"
    response = service.call(method, path, user, {**SUBSCRIPTION, **field})
    (name,) = field
    assert_error(response, 400, name, "cannot be set")
    assert response.json()["fields"] == [{"field": name, "reason": "cannot be set"}]
    assert service.call("GET", "/eventmatch", user).json() == [created]


@pytest.mark.parametrize("field", [{"disabled": "2020-01-01T00:00:00"}, {"error": "x"}], ids=str)
def test_post_refuses_field_when_only_put_may_set_it(
    service: Service, user: str, field: dict[str, Any]
) -> None:
    assert_error(service.call("POST", "/eventmatch", user, {**SUBSCRIPTION, **field}), 400)


def test_post_takes_what_it_would_store_anyway(service: Service, user: str) -> None:
    same = {"user": user, "version": "v0.1", "disabled": None, "error": None, "deleted": None}
    assert service.call("POST", "/eventmatch", user, {**SUBSCRIPTION, **same}).status_code == 200


@pytest.mark.parametrize("absent", list(SUBSCRIPTION))
def test_post_names_field_when_it_is_absent(service: Service, user: str, absent: str) -> None:
    body = {name: value for name, value in SUBSCRIPTION.items() if name != absent}
    assert_error(service.call("POST", "/eventmatch", user, body), 400, absent, "required")


GOOD: list[dict[str, Any]] = [
    {"name": "n"},
    {"name": "é" * 255},
    {"name": "\N{GRINNING FACE}" * 255},
    {"name": "'; DROP TABLE eventmatch; --"},
    {"jsonpath": "data"},
    {"jsonpath": "data[0].x"},
    {"jsonpath": "$"},
    {"jsonpath": '$["é"]'},
    {"jsonpath": '$.data[*][?(@.destinationTable = "Files")]'},
    {"target_url": "http://h"},
    {"target_url": "HTTPS://h:65535/a?b=c&d#e"},
    {"target_url": "http://[::1]:8080/"},
    {"target_url": "http://h/%C3%A9"},
    {"extensions": {}},
    {"extensions": {"nul": "\0", "surrogate": "\ud800", "int": -(10**300)}},
    {"extensions": nested(31)},
    {"auth": None},
    {"auth": {}},
    {"auth": BASIC},
    {"auth": {"type": "basic", "basic": {"username": "", "password": "pä:ss"}}},
    {"auth": BEARER},
    {"auth": {"type": "header", "header": {"type": "Token", "credentials": 'a="b", c'}}},
]
BAD: list[dict[str, Any]] = [
    *({"name": name} for name in ("", "a" * 256, "a\0", "a\n", "\x1b", "\x85", "\ud800", 1, None)),
    *(
        {"jsonpath": path}
        for path in ("", "$.", "$.a[", "@.a", "$.a\n", "$.\0", '$["\ud800"]', "$" + ".a" * 1000)
    ),
    *({"jsonpath": path} for path in ("$" + ".a" * 100_000, "$[?(" + "(" * 900 + "@.a", 1, None)),
    *(
        {"target_url": url}
        for url in (
            *("", "nonsense", "/path", "ftp://h/", "file:///etc/passwd", "http://", "http:///x"),
            *("http://h:99999/", "http://h:x/", "http://[::1/", "http://h h/", "http://h/\n"),
            *("http://é/", "http://bob:sesame@h/", "http://h/" + "a" * 3000, 1, None, ["http://h"]),
        )
    ),
    *({"extensions": value} for value in (None, [], "x", 1, nested(32), nested(500))),
    *(
        {"auth": value}
        for value in (
            *("x", [], 1, {"type": "digest"}, {"type": "basic"}, {"type": "header"}, {"x": 1}),
            *({"type": None}, {"type": ["basic"]}, {"basic": BASIC["basic"]}),
            {"type": "basic", "header": BEARER["header"]},
            {"type": "basic", "basic": {"username": "bob"}},
            {"type": "basic", "basic": {"username": "bob", "password": None}},
            {"type": "basic", "basic": {"username": "b:ob", "password": "p"}},
            {"type": "basic", "basic": {"username": "bob\r", "password": "p"}},
            {"type": "basic", "basic": {"username": "bob", "password": "p\n"}},
            {"type": "basic", "basic": {"username": "bob", "password": "p\ud800"}},
            {"type": "basic", "basic": {"username": "bob", "password": "p", "x": 1}},
            {"type": "header", "header": {"type": "Bearer"}},
            {"type": "header", "header": {"type": "Bearer\n", "credentials": "x"}},
            {"type": "header", "header": {"type": "Be arer", "credentials": "x"}},
            {"type": "header", "header": {"type": "Bearer", "credentials": "x\n"}},
            {"type": "header", "header": {"type": "Bearer", "credentials": "x\r\nEvil: 1"}},
            {"type": "header", "header": {"type": "Bearer", "credentials": ""}},
        )
    ),
]
BAD_ON_PUT: list[dict[str, Any]] = [
    *(
        {"disabled": value}
        for value in (
            *("yes", "", True, 0, "2020-13-01T00:00:00", "0001-01-01T00:00:00+14:00"),
            "9999-12-31T23:59:59-14:00",
        )
    ),
    *({"error": value} for value in (1, [], "\0", "\ud800", "x" * 5000)),
]


def shown(value: Any) -> str:
    return ascii(value)[:60]


@pytest.mark.parametrize("field", GOOD, ids=shown)
def test_value_is_stored_as_given_when_it_is_good(
    service: Service, user: str, field: dict[str, Any]
) -> None:
    created = service.create(user, **field)
    ((name, value),) = field.items()
    stored = value if value is not None else {}
    assert created[name] == stored
    path = f"/eventmatch/{created['uuid']}"
    assert service.call("PUT", path, user, field).json()[name] == stored
    assert service.call("GET", path, user).json()[name] == stored


@pytest.mark.parametrize("field", BAD, ids=shown)
def test_value_is_refused_when_it_is_bad(
    service: Service, user: str, field: dict[str, Any]
) -> None:
    created = service.create(user)
    path = f"/eventmatch/{created['uuid']}"
    for answer in (
        service.call("POST", "/eventmatch", user, {**SUBSCRIPTION, **field}),
        service.call("PUT", path, user, field),
    ):
        assert_error(answer, 400)
        ((name, _),) = field.items()
        first = answer.json()["fields"][0]["field"].partition(".")[0]
        assert first == ("body" if "nested" in answer.text and name != "jsonpath" else name)
        assert "sesame" not in answer.text
    assert service.call("GET", "/eventmatch", user).json() == [created]


@pytest.mark.parametrize("field", BAD_ON_PUT, ids=shown)
def test_put_refuses_value_when_it_is_bad(
    service: Service, user: str, field: dict[str, Any]
) -> None:
    created = service.create(user)
    answer = service.call("PUT", f"/eventmatch/{created['uuid']}", user, field)
    assert_error(answer, 400, *field)
    assert service.call("GET", "/eventmatch", user).json() == [created]


def test_every_field_is_named_when_several_are_wrong(service: Service, user: str) -> None:
    body = {**SUBSCRIPTION, "jsonpath": "$.", "target_url": "x"}
    fields = service.call("POST", "/eventmatch", user, body).json()["fields"]
    assert {each["field"] for each in fields} == {"jsonpath", "target_url"}


# What is no subscription at all.

HOSTILE = {
    "nothing": b"",
    "blank": b"  ",
    "null": b"null",
    "array": b"[]",
    "text": b'"x"',
    "number": b"1",
    "unfinished": b'{"name": ',
    "more after it": b"{} {}",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "Latin-1": b'{"name": "\xe9"}',
    "NaN": b'{"extensions": {"a": NaN}}',
    "infinite": b'{"extensions": {"a": 1e999}}',
    "5000 digits": b'{"extensions": {"a": ' + b"1" * 5000 + b"}}",
    "name twice": b'{"name": "a", "name": "b"}',
    "newline in a string": b'{"name": "a\n"}',
    "500 objects": b'{"extensions": ' + b'{"a":' * 500 + b"1" + b"}" * 501,
    "100000 arrays": b"[" * 100_000,
    "NUL": b"\0",
    "form": b"name=a&jsonpath=b",
    "XML": b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_body_is_400_when_it_is_no_json_object(service: Service, user: str, body: bytes) -> None:
    created = service.create(user)
    for method, path in (("POST", "/eventmatch"), ("PUT", f"/eventmatch/{created['uuid']}")):
        assert_error(service.call(method, path, user, body), 400, "body")
    assert service.call("GET", "/eventmatch", user).json() == [created]


@pytest.mark.parametrize("size", [256 * 2**10 + 1, 3 * 2**20])
def test_body_is_413_when_it_is_too_large(service: Service, user: str, size: int) -> None:
    def in_chunks() -> Any:
        for start in range(0, size, 65536):
            yield b" " * min(65536, size - start)

    for body in (b" " * size, in_chunks()):
        answer = service.session.post(
            service.url + "/eventmatch", data=body, headers={"Http-Remote-User": user}, timeout=20
        )
        assert_error(answer, 413, "262144")


def test_body_is_413_and_is_not_read_when_it_announces_far_too_much(service: Service) -> None:
    announced = b"POST /eventmatch HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
    assert_error(exchange(service.port, announced), 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ";;", ","])
def test_body_is_415_when_its_content_type_is_not_json(
    service: Service, user: str, kind: str
) -> None:
    headers = {"Content-Type": kind}
    assert_error(service.call("POST", "/eventmatch", user, SUBSCRIPTION, headers=headers), 415)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
fields = st.sampled_from([*SCHEMA["properties"], "uuid", "user", "version", "deleted", "type"])
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "name": json_values,
        "jsonpath": st.text(alphabet="$@.[]*?()=:0123456789'\"ab ", max_size=12) | json_values,
        "target_url": st.text(alphabet="htps:/.@[]?#%x19 ", max_size=20) | json_values,
        "extensions": json_values,
        "auth": st.fixed_dictionaries(
            {"type": st.sampled_from(["basic", "header"]) | json_values},
            optional={
                "basic": st.dictionaries(st.sampled_from(["username", "password"]), json_values),
                "header": st.dictionaries(st.sampled_from(["type", "credentials"]), json_values),
            },
        ),
        "disabled": st.datetimes().map(str) | json_values,
        "error": json_values,
    },
)


@settings(max_examples=100, deadline=None)
@given(body=json_values | st.dictionaries(fields, json_values, max_size=4) | near_misses)
def test_any_json_is_answered_200_or_400(service: Service, body: Any) -> None:
    """Whatever JSON a body holds, POST and PUT take it or say what is wrong with it."""
    uuid = service.create("property")["uuid"]
    complete = {**SUBSCRIPTION, **body} if isinstance(body, dict) else body
    for method, path, sent in (
        ("POST", "/eventmatch", complete),
        ("PUT", f"/eventmatch/{uuid}", body),
    ):
        answer = service.call(method, path, "property", sent)
        assert answer.status_code in (200, 400), answer.text
        assert answer.headers["Content-Type"] == "application/json"
        if answer.status_code == 400:
            assert_nothing_from_inside(answer.text)
    service.call("DELETE", f"/eventmatch/{uuid}", "property")


# Paths and methods.


@pytest.mark.parametrize(
    "text",
    [
        *("x", "None", "0", "-", "%20", "%00", "%ff", "%2e%2e", "%zz", "%E2%82%AC"),
        *(f"{UNKNOWN}0", UNKNOWN[:-1], "{" + UNKNOWN + "}", f"urn:uuid:{UNKNOWN}"),
        *("0_0" * 10 + "00", "%20" + "0" * 31, "%D9%A3" * 32, "a" * 5000, "' OR 1=1 --"),
    ],
    ids=shown,
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_uuid_is_400_when_it_is_malformed(
    service: Service, user: str, method: str, text: str
) -> None:
    body = {} if method == "PUT" else None
    assert_error(service.call(method, f"/eventmatch/{text}", user, body), 400, "UUID")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/eventmatch", "/eventmatch/"])
def test_collection_answers_405_and_what_it_allows_to_wrong_method(
    service: Service, user: str, method: str, path: str
) -> None:
    answer = service.call(method, path, user, {})
    assert_error(answer, 405, method)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}


@pytest.mark.parametrize("method", ["POST", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_object_answers_405_and_what_it_allows_to_wrong_method(
    service: Service, user: str, method: str
) -> None:
    answer = service.call(method, f"/eventmatch/{service.create(user)['uuid']}", user, {})
    assert_error(answer, 405, method)
    assert set(answer.headers["Allow"].split(", ")) == {"DELETE", "GET", "HEAD", "PUT"}


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/EventMatch",
        "/eventmatchx",
        f"/eventmatch/{UNKNOWN}/x",
        "/eventmatch/a/b/c",
    ],
)
def test_path_is_404_when_nothing_is_there(
    service: Service, user: str, method: str, path: str
) -> None:
    assert_error(service.call(method, path, user, {} if method != "GET" else None), 404)


@pytest.mark.parametrize("query", ["?x=1", "?event_uuid=1", "?%ff=%ff", "?=&=", "?a&a"])
def test_query_is_refused_when_nobody_knows_it(service: Service, user: str, query: str) -> None:
    created = service.create(user)
    path = f"/eventmatch/{created['uuid']}"
    for answer in (
        service.call("GET", f"/eventmatch{query}", user),
        service.call("PUT", path + query, user, {"name": "changed"}),
        service.call("DELETE", path + query, user),
    ):
        assert answer.status_code in (400, 404)
        assert_error(answer, answer.status_code)
    assert service.call("GET", "/eventmatch", user).json() == [created]


def test_query_is_ignored_when_it_is_empty(service: Service, user: str) -> None:
    assert service.call("GET", "/eventmatch?", user).json() == []


def test_answers_are_json_when_request_is_not_even_http(service: Service) -> None:
    for request in (
        b"GARBAGE\r\n\r\n",
        b"GET /eventmatch\r\n\r\n",
        b"get /eventmatch HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /eventmatch#x HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /é HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        b"GET /eventmatch HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n",
        b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /eventmatch HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n",
    ):
        assert_error(exchange(service.port, request), 400)
    assert_error(exchange(service.port, b"GET / HTTP/9.9\r\nHost: x\r\n\r\n"), 505)
    assert_error(exchange(service.port, raw_get("/eventmatch", b"X: " + b"a" * 70_000)), 431)
    chunked = raw_get("/eventmatch", b"Transfer-Encoding: gzip")
    assert_error(exchange(service.port, chunked), 501)


@pytest.mark.parametrize(
    "header",
    [
        *(b"X-Other: =?nonsense?q?alice?=", b"X-Other: =?utf-8?q?=ff?=", b"Cookie: \xff=\xff; a"),
        *(b"Cookie: [x]=1; $Path=1", b"Accept: x;q=zz", b"Range: bytes=-1", b"Expect: nothing"),
        *(b"If-Match: x", b"Authorization: Digest x"),
    ],
    ids=shown,
)
def test_request_is_answered_when_header_makes_no_sense(
    service: Service, user: str, header: bytes
) -> None:
    created = service.create(user)
    answer = exchange(
        service.port, raw_get("/eventmatch", b"Http-Remote-User: " + user.encode(), header)
    )
    assert (answer.status, json.loads(answer.body)) == (200, [created])


# How many subscriptions one user may have, and masks for what is secret in them.


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
