"""Who is calling: the one header that an authenticating proxy sets."""

import json
from pathlib import Path

import pytest

from tests.integration.webservice import (
    Service,
    assert_error,
    exchange,
    raw_get,
    running,
)

pytestmark = pytest.mark.endtoend

HEADER = b"Http-Remote-User: "


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a" * 255,
        "é" * 255,
        "山田 太郎",
        "o'brien",
        "a.b-c_d",
        "a@b.example",
        "a+b;c:d",
    ],
)
def test_name_is_taken_when_policy_can_look_it_up(service: Service, name: str) -> None:
    created = service.create(name)
    assert created["user"] == name
    assert created in service.call("GET", "/eventmatch", name).json()
    service.call("DELETE", f"/eventmatch/{created['uuid']}", name)


@pytest.mark.parametrize("character", list("/?#&%=\\,"))
def test_name_is_refused_when_another_one_could_be_read(service: Service, character: str) -> None:
    for name in (character, f"a{character}b"):
        assert_error(service.call("GET", "/eventmatch", name), 400, "Http-Remote-User")


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"   ", b"a" * 256, "é".encode() * 256, "é".encode("latin-1"), b"\xff"),
        *(b"a\x00b", b"\x01", b"a\tb", b"a\x7f", b"a\r b", "a\x85b".encode(), b"a\x1b[2J"),
        # What RFC 2047 would read as `alice`, and what it could not read at all.
        *(b"=?utf-8?q?alice?=", b"=?nonsense?q?alice?="),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_name_is_refused_when_it_is_no_name(service: Service, value: bytes) -> None:
    assert_error(exchange(service.port, raw_get("/eventmatch", HEADER + value)), 400)


@pytest.mark.parametrize(
    "lines",
    [
        (HEADER + b"a", HEADER + b"b"),
        (HEADER + b"a", HEADER + b"a"),
        (HEADER + b"a", b"HTTP-REMOTE-USER: b"),
        (HEADER, HEADER + b"b"),
        (HEADER + b"a", b"Http-Remote-User : b"),
        (HEADER + b"a", b" b"),
    ],
    ids=["two", "the same", "other case", "empty first", "blank before colon", "folded"],
)
def test_caller_is_refused_when_header_is_repeated(
    service: Service, lines: tuple[bytes, ...]
) -> None:
    assert_error(exchange(service.port, raw_get("/eventmatch", *lines)), 400, "once")


def test_caller_is_default_user_when_there_is_no_header(service: Service) -> None:
    created = service.call(
        "POST", "/eventmatch", None, {"name": "n", "jsonpath": "$", "target_url": "http://h"}
    ).json()
    assert created["user"] == "default_user"


def test_underscored_header_is_not_the_header(service: Service, user: str) -> None:
    created = service.create(user)
    spoofed = b"Http_Remote_User: " + user.encode()
    alone = json.loads(exchange(service.port, raw_get("/eventmatch", spoofed)).body)
    assert created not in alone
    beside = raw_get("/eventmatch", HEADER + user.encode(), b"Http_Remote_User: b", b"x_y: z")
    assert json.loads(exchange(service.port, beside).body) == [created]


def test_configured_header_names_caller_and_none_is_401_when_there_is_no_default(
    prepared: dict[str, str], tmp_path: Path
) -> None:
    environment = {**prepared, "USER_HEADER": "X-Forwarded-User", "DEFAULT_USER": ""}
    with running(environment, tmp_path) as service:
        assert_error(service.call("GET", "/eventmatch"), 401, "X-Forwarded-User")
        assert_error(service.call("GET", "/eventmatch", "alice"), 401)
        named = service.call("GET", "/eventmatch", headers={"X-Forwarded-User": "alice"})
        assert (named.status_code, named.json()) == (200, [])
        twice = raw_get("/eventmatch", b"X-Forwarded-User: a", b"x-forwarded-user: b")
        assert_error(exchange(service.port, twice), 400, "once")
