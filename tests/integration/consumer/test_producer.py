"""Subscribing with a producer: what it is asked, and what its answers mean."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from pacifica.notifications.consumer.producer import Producer, basic, bearer
from pacifica.notifications.errors import ConsumerError
from tests.support.servers import RecordingServer, free_port

ID = UUID(int=7)


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


def answering(status: int, document: object) -> tuple[int, dict[str, str], bytes]:
    return status, {}, json.dumps(document).encode()


def test_subscribe_sends_a_subscription_with_its_token(server: RecordingServer) -> None:
    server.answer = lambda _: answering(200, {"uuid": str(ID)})
    producer = Producer(server.url + "/", "alice", authorization=bearer("proxy"))
    assert producer.subscribe("n", "$.data", "http://me/", "token") == ID
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/eventmatch")
    assert request.headers["Http-Remote-User"] == "alice"
    assert request.headers["Authorization"] == "Bearer proxy"
    assert json.loads(request.body) == {
        "name": "n",
        "jsonpath": "$.data",
        "target_url": "http://me/",
        "auth": {"type": "header", "header": {"type": "Bearer", "credentials": "token"}},
    }


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answering(400, {"message": "user: no"}), 'the subscription: 400 {"message": "user: no"}'),
        ((302, {"Location": "http://elsewhere/"}, b""), "did not take the subscription: 302"),
        ((500, {}, b"<b>\n\0x</b>"), "did not take the subscription: 500 <b>  x</b>"),
        ((200, {}, b"welcome"), "answered with no subscription"),
        (answering(200, []), "answered with no subscription"),
        (answering(200, {"uuid": "7"}), "answered with no subscription"),
    ],
    ids=str,
)
def test_subscribe_says_in_one_line_what_was_answered_when_it_is_refused(
    server: RecordingServer, answer: tuple[int, dict[str, str], bytes], reason: str
) -> None:
    server.answer = lambda _: answer
    producer = Producer(server.url.replace("//", "//user:secret@"), "alice")
    with pytest.raises(ConsumerError) as caught:
        producer.subscribe("n", "$", "http://me/", "token")
    assert reason in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("\n", "\0", "secret", "token"))
    assert len(server.requests) == 1


def test_subscribe_names_the_producer_that_does_not_answer() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConsumerError, match=rf"no answer from {url} \(ConnectionError\)"):
        Producer(url, "alice").subscribe("n", "$", "http://me/", "t")


@pytest.mark.parametrize("status", [200, 403])
def test_unsubscribe_ends_a_subscription_that_may_be_gone(
    server: RecordingServer, status: int
) -> None:
    server.answer = lambda _: (status, {}, b"")
    Producer(server.url, "alice").unsubscribe(ID)
    (request,) = server.requests
    assert (request.method, request.path) == ("DELETE", f"/eventmatch/{ID}")


def test_unsubscribe_raises_when_the_producer_fails(server: RecordingServer) -> None:
    server.answer = lambda _: (503, {}, b"later")
    with pytest.raises(ConsumerError, match="did not end the subscription: 503 later"):
        Producer(server.url, "alice").unsubscribe(ID)


def test_renew_sends_url_and_token_and_enables(server: RecordingServer) -> None:
    Producer(server.url, "alice").renew(ID, "http://me/", "token")
    (request,) = server.requests
    assert (request.method, request.path) == ("PUT", f"/eventmatch/{ID}")
    assert json.loads(request.body) == {
        "target_url": "http://me/",
        "auth": {"type": "header", "header": {"type": "Bearer", "credentials": "token"}},
        "disabled": None,
        "error": None,
    }


def test_renew_raises_when_it_is_refused(server: RecordingServer) -> None:
    server.answer = lambda _: answering(400, {"message": "target_url: no"})
    with pytest.raises(ConsumerError, match="did not renew the subscription: 400 "):
        Producer(server.url, "alice").renew(ID, "http://me/", "token")


def document(number: int = 7, **changes: object) -> dict[str, object]:
    fields = {"uuid": str(UUID(int=number)), "name": "a", "jsonpath": "$.data"}
    return {**fields, "disabled": None, "error": None, **changes}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, (False, None)),
        ({"disabled": "2026-01-01T00:00:00"}, (True, None)),
        ({"disabled": "2026-01-01T00:00:00", "error": "a\nb\0 " + 2000 * "x"}, (True, "a b")),
    ],
    ids=["enabled", "disabled", "with an error"],
)
def test_read_tells_whether_a_subscription_is_disabled_and_why(
    server: RecordingServer, changes: dict[str, object], state: tuple[bool, str | None]
) -> None:
    server.answer = lambda _: answering(200, document(**changes))
    found = Producer(server.url, "alice").read(ID)
    assert found is not None
    assert (found.uuid, found.jsonpath, found.is_disabled) == (ID, "$.data", state[0])
    assert (found.error and found.error[:3]) == state[1]
    assert len(found.error or "") <= 1000
    assert server.requests[0].path == f"/eventmatch/{ID}"


def test_read_finds_nothing_when_there_is_no_such_subscription(server: RecordingServer) -> None:
    server.answer = lambda _: answering(403, {"message": "there is none"})
    assert Producer(server.url, "alice").read(ID) is None


def test_named_finds_the_one_of_the_name(server: RecordingServer) -> None:
    server.answer = lambda _: answering(200, [document(1), document(2, name="b")])
    producer = Producer(server.url, "alice")
    found = producer.named("b")
    assert found is not None
    assert found.uuid == UUID(int=2)
    assert producer.named("c") is None


@pytest.mark.parametrize(
    "listed", [[1], [{"name": "b"}], [{"name": "b", "uuid": "x", "error": None}], {"name": "b"}]
)
def test_named_raises_when_the_list_is_none(server: RecordingServer, listed: object) -> None:
    server.answer = lambda _: answering(200, listed)
    with pytest.raises(ConsumerError, match="answered with no list"):
        Producer(server.url, "alice").named("b")


def test_credentials_come_from_nowhere_else(
    server: RecordingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    Producer(server.url, "alice").unsubscribe(ID)
    assert "Authorization" not in server.requests[0].headers


def test_secrets_stay_out_of_the_repr() -> None:
    assert "secret" not in repr(Producer("http://p", "alice", authorization=bearer("secret")))


def test_basic_encodes_user_and_password() -> None:
    assert basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617
