"""Who may send events to `/receive`: by token, and by address."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_receive import EVENT, post, received
from tests.integration.test_receive_modes import BATCH, BINARY, lines_of
from tests.integration.webservice import Raw, Service, assert_error, exchange, running

Run = Callable[[str], Any]
TOKEN = "s3cret.token"  # noqa: S105 one of the tests'
OTHER = "another~token"


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], dict[str, str]],
    migrated: Path,
) -> Iterator[Callable[[str], Service]]:
    """Give services by their `[receive]` settings; each is started once."""
    from contextlib import ExitStack

    services: dict[str, Service] = {}
    with ExitStack() as stack:

        def guarded_by(settings: str) -> Service:
            if settings not in services:
                folder = tmp_path_factory.mktemp("guarded")
                environment = environment_in(folder)
                (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
                (folder / "config.ini").write_text(f"[receive]\n{settings}\n")
                services[settings] = stack.enter_context(running(environment, folder))
            return services[settings]

        yield guarded_by


BY_TOKEN = f"token = {TOKEN} {OTHER}"
BY_ADDRESS = "allow_addresses = 192.0.2.0/24 2001:db8::/32"
BY_NEAR_ADDRESS = "allow_addresses = 192.0.2.0/24 127.0.0.0/8"
BY_EITHER = f"{BY_TOKEN}\n{BY_NEAR_ADDRESS}"
BY_TOKEN_OR_FAR = f"{BY_TOKEN}\n{BY_ADDRESS}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("token", [TOKEN, OTHER])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
def test_event_is_taken_when_its_sender_has_a_token(
    guarded: Callable[[str], Service], scheme: str, token: str
) -> None:
    service = guarded(BY_TOKEN)
    assert received(service, EVENT, headers={"Authorization": f"{scheme} {token}"})
    headers = {**BINARY, **bearer(token), "Content-Type": "text/plain"}
    assert received(service, b"x", headers=headers)
    assert len(lines_of(post(service, [EVENT], headers={**BATCH, **bearer(token)}))) == 1


WRONG: list[dict[str, str]] = [
    {},
    *({"Authorization": value} for value in ("", "Bearer", "Bearer ", f"Basic {TOKEN}", TOKEN)),
    *(bearer(token) for token in (TOKEN[:-1], TOKEN + "x", f"{TOKEN} {OTHER}", TOKEN.upper())),
    {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=192.0.2.1"},
    {"Proxy-Authorization": f"Bearer {TOKEN}"},
]


@pytest.mark.parametrize("headers", WRONG, ids=str)
@pytest.mark.parametrize("settings", [BY_TOKEN, BY_TOKEN_OR_FAR], ids=["token", "token or far"])
def test_event_is_401_when_its_sender_has_no_token(
    guarded: Callable[[str], Service], settings: str, headers: dict[str, str]
) -> None:
    answer = post(guarded(settings), EVENT, headers=headers)
    assert_error(answer, 401, "token")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert TOKEN not in answer.text


@pytest.mark.parametrize("line", [b"Authorization: Bearer \xff", b"Authorization: Bearer a\0b"])
def test_event_is_refused_when_its_token_is_no_text(
    guarded: Callable[[str], Service], line: bytes
) -> None:
    assert raw(guarded(BY_TOKEN), b"{}", line).status in (400, 401)


def test_event_is_401_when_its_sender_gives_tokens_twice(
    guarded: Callable[[str], Service],
) -> None:
    lines = [f"Authorization: Bearer {token}".encode() for token in (TOKEN, "wrong")]
    assert raw(guarded(BY_TOKEN), b"{}", *lines).status == 401


def raw(service: Service, body: bytes, *lines: bytes) -> Raw:
    head = [
        b"POST /receive HTTP/1.1",
        b"Host: x",
        b"Connection: close",
        b"Content-Length: %d" % len(body),
        *lines,
    ]
    return exchange(service.port, b"\r\n".join([*head, b"", body]))


@pytest.mark.parametrize("settings", [BY_NEAR_ADDRESS, BY_EITHER], ids=["address", "either"])
def test_event_is_taken_when_it_comes_from_an_allowed_address(
    guarded: Callable[[str], Service], settings: str
) -> None:
    assert received(guarded(settings), EVENT)
    assert received(guarded(settings), EVENT, headers=bearer("wrong"))


def test_event_is_taken_from_anywhere_when_its_sender_has_a_token(
    guarded: Callable[[str], Service],
) -> None:
    assert received(guarded(BY_TOKEN_OR_FAR), EVENT, headers=bearer(TOKEN))


@pytest.mark.parametrize("headers", [{}, bearer(TOKEN), {"X-Forwarded-For": "192.0.2.1"}], ids=str)
def test_event_is_403_when_it_comes_from_another_address(
    guarded: Callable[[str], Service], headers: dict[str, str]
) -> None:
    answer = post(guarded(BY_ADDRESS), EVENT, headers=headers)
    assert_error(answer, 403, "address")
    assert "WWW-Authenticate" not in answer.headers


@pytest.mark.parametrize("body", [b"{", b"x" * 10_000])
def test_sender_is_refused_before_anything_is_said_of_the_event(
    guarded: Callable[[str], Service], body: bytes
) -> None:
    headers = {"Content-Type": "nonsense", "Content-Encoding": "nonsense"}
    assert_error(post(guarded(BY_TOKEN), body, headers=headers), 401)


def test_sender_is_refused_whatever_its_body_is(guarded: Callable[[str], Service]) -> None:
    for body in (b"{", b"\xff", b""):
        assert raw(guarded(BY_TOKEN), body, b"Content-Encoding: gzip").status == 401


def test_subscriptions_need_no_token(guarded: Callable[[str], Service]) -> None:
    assert guarded(BY_TOKEN).call("GET", "/eventmatch", "alice").status_code == 200


def test_refused_event_is_not_stored(guarded: Callable[[str], Service], run: Any) -> None:
    service = guarded(BY_TOKEN)
    post(service, {**EVENT, "eventID": "refused"})
    kept = post(service, {**EVENT, "eventID": "kept"}, headers=bearer(TOKEN)).text
    printed = run(service.environment, "pacifica-notifications-cmd", "eventget", "--limit", "1000")
    assert kept in printed.stdout
    assert json.dumps("refused") not in printed.stdout
