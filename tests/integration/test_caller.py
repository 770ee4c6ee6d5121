"""Who is calling: the one header that an authenticating proxy sets."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.integration.webservice import (
    SUBSCRIPTION,
    Service,
    assert_error,
    exchange,
    raw_get,
    running,
    some_user,
)

HEADER = b"Http-Remote-User: "
EnvironmentIn = Callable[[Path], dict[str, str]]


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
        # Their UTF-8 ends in a byte that is a blank in Latin-1.
        *("Zoà", "JosÅ", "ठ", "Šà", "victim\u00a0"),
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
        *(
            b"victim\xa0",
            b"\xa0victim",
            b"victim\x85",
            b"victim\x85 \t",
            b"victim\x1f",
            b"victim\xc2",
        ),
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
    is_malformed = b" :" in lines[1] or lines[1].startswith(b" ")
    parts = () if is_malformed else ("once",)
    assert_error(exchange(service.port, raw_get("/eventmatch", *lines)), 400, *parts)


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


# How many requests one user may send.


@pytest.fixture(scope="module")
def limited(
    tmp_path_factory: pytest.TempPathFactory, environment_in: EnvironmentIn, migrated: Path
) -> Iterator[Service]:
    """Run a server that lets three requests through at once, and another one in minutes."""
    folder = tmp_path_factory.mktemp("limited")
    environment = environment_in(folder)
    (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
    limits = {"EVENTMATCH_RATE": "0.005", "EVENTMATCH_BURST": "3"}
    with running({**environment, **limits}, folder) as service:
        yield service


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
def test_request_is_429_with_retry_after_when_its_user_sent_too_many(
    limited: Service, user: str, method: str
) -> None:
    path = "/eventmatch" if method in ("GET", "HEAD", "POST") else f"/eventmatch/{uuid4()}"
    for body in (None, b"no json", {}):
        assert limited.call(method, path, user, body).status_code in (200, 400, 403)
    for _ in range(2):
        answer = limited.call(method, path, user, SUBSCRIPTION)
        assert answer.status_code == 429
        assert 190 <= int(answer.headers["Retry-After"]) <= 200
    if method != "HEAD":
        assert_error(answer, 429, "0.005 requests a second")
    assert limited.call(method, path, some_user()).status_code != 429


def test_requests_count_together_when_one_user_sends_different_ones(
    limited: Service, user: str
) -> None:
    limited.create(user)
    limited.call("GET", f"/eventmatch/{uuid4()}/delivery", user)
    limited.call("PATCH", "/eventmatch", user)
    assert limited.call("GET", "/eventmatch", user).status_code == 429


def test_default_user_is_counted_and_who_has_no_valid_name_is_not(limited: Service) -> None:
    for _ in range(5):
        assert limited.call("GET", "/eventmatch", "a/b").status_code == 400
    answers = [limited.call("GET", "/eventmatch").status_code for _ in range(5)]
    assert answers == [200, 200, 200, 429, 429]


def test_events_are_taken_when_their_sender_sent_too_many_requests(
    limited: Service, user: str
) -> None:
    for _ in range(5):
        assert limited.call("POST", "/receive", user, {"data": 1}).status_code == 200
        last = limited.call("GET", "/eventmatch", user).status_code
    assert last == 429
