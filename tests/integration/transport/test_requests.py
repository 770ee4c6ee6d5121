"""What a transport sends, and which requests it refuses."""

import pytest

from pacifica.notifications.transport import Request, Transport
from tests.support import servers
from tests.support.servers import RecordingServer
from tests.support.transports import TIMEOUT, answer, post


def test_submit_delivers_body_and_headers_intact(
    transport: Transport, target: RecordingServer
) -> None:
    body = bytes(range(256)) * 40
    headers = (("Content-Type", "application/json"), ("X-Empty", ""), ("User-Agent", "pacifica"))
    assert answer(transport, Request("POST", f"{target.url}/a?b=c", headers, body)).status == 200
    (received,) = target.requests
    assert (received.method, received.path, received.body) == ("POST", "/a?b=c", body)
    assert {name: received.headers[name] for name, _ in headers} == dict(headers)


def test_submit_gives_status_and_body_of_the_answer(
    transport: Transport, target: RecordingServer
) -> None:
    target.answer = lambda _: (418, {"X-Other": "1"}, b"\0teapot\xff")
    result = answer(transport, post(target.url))
    assert (result.status, result.body, result.truncated) == (418, b"\0teapot\xff", False)
    assert result.retry_after is None
    assert 0 < result.seconds < TIMEOUT


def test_submit_adds_no_content_type_or_user_agent_of_its_own(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(target.url))
    assert "Content-Type" not in target.requests[0].headers
    assert "User-Agent" not in target.requests[0].headers


def test_submit_does_not_wait_for_100_continue_when_the_body_is_large(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(target.url, b"x" * 3_000_000))
    assert "Expect" not in target.requests[0].headers
    assert len(target.requests[0].body) == 3_000_000


def test_submit_sends_length_0_when_a_post_has_no_body(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(target.url, b""))
    assert target.requests[0].headers["Content-Length"] == "0"


def test_submit_sends_a_plain_get_when_a_post_used_the_connection_before(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(target.url, b"body", ("Content-Type", "text/plain")))
    answer(transport, Request("GET", f"{target.url}/status", ()))
    received = target.requests[1]
    assert (received.method, received.path, received.body) == ("GET", "/status", b"")
    assert "Content-Type" not in received.headers
    assert "Content-Length" not in received.headers


def test_submit_sends_dots_in_the_path_as_they_are(
    transport: Transport, target: RecordingServer
) -> None:
    answer(transport, post(f"{target.url}/events/.."))
    assert target.requests[0].path == "/events/.."


def test_submit_does_not_send_credentials_when_the_url_has_some(
    transport: Transport, target: RecordingServer
) -> None:
    request = post(target.url.replace("http://", "http://user:secret@"))
    answer(transport, request)
    assert "Authorization" not in target.requests[0].headers
    assert "secret" not in repr(request)


def test_submit_asks_no_proxy_when_the_environment_names_one(
    transport: Transport, target: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{servers.free_port()}")
    assert answer(transport, post(target.url)).status == 200


def test_submit_sends_no_cookie_when_an_answer_set_one(
    transport: Transport, target: RecordingServer
) -> None:
    target.answer = lambda _: (200, {"Set-Cookie": "a=b; Path=/"}, b"")
    answer(transport, post(target.url))
    answer(transport, post(target.url))
    assert "Cookie" not in target.requests[1].headers


@pytest.mark.parametrize(
    ("method", "url", "headers", "body"),
    [
        ("PUT", "http://h/", (), b""),
        ("GET", "http://h/", (), b"body"),
        ("POST", "http://h/\r\nX: y", (), b""),
        ("POST", "http://h/\u00e9", (), b""),
        ("POST", "http://h/\0", (), b""),
        ("POST", "http://h/", (("X\r\nY", "z"),), b""),
        ("POST", "http://h/", (("X:", "z"),), b""),
        ("POST", "http://h/", (("", "z"),), b""),
        ("POST", "http://h/", (("X", "a\r\nY: b"),), b""),
        ("POST", "http://h/", (("X", "a\n"),), b""),
        ("POST", "http://h/", (("X", "\u00e9"),), b""),
        ("POST", "http://h/", (("X", "\x7f"),), b""),
        ("POST", "http://h/", (("Content-Length", "1"),), b""),
        ("POST", "http://h/", (("transfer-encoding", "chunked"),), b""),
    ],
)
def test_request_is_refused_when_it_cannot_be_sent_as_it_stands(
    method: str, url: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the promise is the type
        Request(method, url, headers, body)


def test_request_names_no_header_value_when_it_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^header Authorization has") as refusal:
        Request("POST", "http://h/", (("Authorization", "Bearer secret\n"),))
    assert "secret" not in str(refusal.value)
