"""Which fields of a subscription a caller may set, and to what."""

from typing import Any

import pytest

from tests.integration.webservice import SUBSCRIPTION, Service, assert_error
from tests.support.subscribed import BASIC, BEARER, UNKNOWN, nested, shown


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


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"id": 1}, "unknown field"),
        ({"unknown": None}, "unknown field"),
        ({"\ud800": 1}, "unknown field"),
        ({"": 1}, "unknown field"),
        ({"x" * 100_000: 1}, "unknown field"),
        ({"Nmae": "n"}, "unknown field: did you mean name?"),
        ({"target-url": "http://h/"}, "unknown field: did you mean target_url?"),
    ],
    ids=lambda value: ascii(value)[:30],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_field_is_refused_when_it_is_unknown(
    service: Service, user: str, method: str, field: dict[str, Any], reason: str
) -> None:
    created = service.create(user)
    path = "/eventmatch" if method == "POST" else f"/eventmatch/{created['uuid']}"
    response = service.call(method, path, user, {**SUBSCRIPTION, **field})
    (name,) = field
    assert_error(response, 400, name[:64], reason)
    assert response.json()["fields"] == [{"field": name[:64], "reason": reason}]
    assert service.call("GET", "/eventmatch", user).json() == [created]


def test_all_wrong_fields_are_named_at_once(service: Service, user: str) -> None:
    body = {"nmae": "mine", "extensions": [], "auth": {"type": "basic"}, "uuid": UNKNOWN}
    answer = service.call("POST", "/eventmatch", user, body)
    assert {field["field"]: field["reason"] for field in answer.json()["fields"]} == {
        "nmae": "unknown field: did you mean name?",
        "uuid": "cannot be set",
        "name": "is required",
        "jsonpath": "is required",
        "target_url": "is required",
        "extensions": "must be object",
        "auth.basic": "is required",
    }


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
