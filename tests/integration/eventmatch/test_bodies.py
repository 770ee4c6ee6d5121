"""Bodies that are no subscription at all."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacifica.notifications.subscriptions import SUBSCRIPTION_SCHEMA as SCHEMA
from tests.integration.webservice import (
    SUBSCRIPTION,
    Service,
    assert_error,
    assert_nothing_from_inside,
    exchange,
)

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
