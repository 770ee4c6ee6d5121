"""The fast path of plain events: what it answers, and what it passes on to CherryPy."""

import io
import json
from http import HTTPStatus
from typing import Any
from uuid import UUID

import pytest

from pacifica.notifications.app import App
from pacifica.notifications.errors import StoreUnavailable, TooLarge
from pacifica.notifications.events import Event
from pacifica.notifications.rest.accesslog import AccessLog
from pacifica.notifications.rest.context import Context
from pacifica.notifications.rest.receive import ReceiveFastPath
from pacifica.notifications.settings import Settings, keys
from tests.support.configured import changed as with_settings

BODY = b'{"a": 1}'
EVENT = b'{"specversion": "1.0", "id": "i", "source": "s", "type": "t"}'
PASSED_ON = [b"by CherryPy"]


def environ_of(**changed: Any) -> dict[str, Any]:
    """Give the WSGI environment of a plain event, changed; what is None is left out."""
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/receive",
        "QUERY_STRING": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.1",
        "HTTP_HOST": "localhost",
        "HTTP_USER_AGENT": "curl/8.5",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(BODY)),
        "wsgi.input": io.BytesIO(BODY),
        "wsgi.multithread": True,
        **changed,
    }
    return {name: value for name, value in environ.items() if value is not None}


class FastPath:
    """A fast path whose events the test stores, in front of what it passes requests on to."""

    def __init__(self, **settings: Any) -> None:
        self.stored: list[Event] = []
        self.nudged: list[UUID] = []
        self.responses: list[tuple[str, dict[str, str]]] = []
        self.passed_on: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        app = App(with_settings(Settings(), **settings))
        app.group_commit.store = self._store  # type: ignore[method-assign]
        app.nudger.nudge = self.nudged.append  # type: ignore[method-assign]
        self.log = AccessLog("fast path", "tests")
        self._path = ReceiveFastPath(self._following, Context(app), self.log)

    def __call__(self, **changed: Any) -> list[bytes]:
        return list(
            self._path(
                environ_of(**changed),
                lambda status, headers: self.responses.append((status, dict(headers))),
            )
        )

    def refusal(self, **changed: Any) -> tuple[str, str]:
        """Give status and message of the answer to a request that is refused."""
        (body,) = self(**changed)
        ((status, headers),) = self.responses
        assert headers["Content-Type"] == "application/json"
        assert headers["Content-Length"] == str(len(body))
        assert self.passed_on == []
        document = json.loads(body)
        assert document["status"] == status
        return status, document["message"]

    def _store(self, event: Event) -> None:
        if self.failure is not None:
            raise self.failure
        self.stored.append(event)

    def _following(self, environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        self.passed_on.append(environ)
        return PASSED_ON


@pytest.fixture
def fast_path() -> FastPath:
    return FastPath()


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"SERVER_PROTOCOL": "HTTP/1.0"},
        {"HTTP_ACCEPT": "*/*", "HTTP_HTTP_REMOTE_USER": "=?utf-8?q?a?="},
        {"HTTP_USER_AGENT": None, "HTTP_REFERER": "http://example.org/"},
    ],
    ids=str,
)
def test_event_is_answered_when_its_request_is_plain(
    fast_path: FastPath, changed: dict[str, Any]
) -> None:
    answer = fast_path(**changed)
    (event,) = fast_path.stored
    assert answer == [str(event.uuid).encode()]
    assert (event.text, event.hops) == (BODY.decode(), 0)
    assert fast_path.nudged == [event.uuid]
    ((status, _),) = fast_path.responses
    assert (status, fast_path.passed_on) == ("200 OK", [])


@pytest.mark.parametrize(
    "changed",
    [
        *({"REQUEST_METHOD": method} for method in ("GET", "PUT", "post")),
        *({"PATH_INFO": path} for path in ("/receive/", "//receive", "/eventmatch", "", None)),
        *({"SCRIPT_NAME": "/x"}, {"QUERY_STRING": "x=1"}, {"SERVER_PROTOCOL": "HTTP/2.0"}),
        *({"CONTENT_TYPE": kind} for kind in ("application/JSON", "text/plain", "", None)),
        *({"CONTENT_LENGTH": length} for length in ("", "-1", "1.5", "9" * 15, "9" * 5000, None)),
        *({"HTTP_HOST": ""}, {"HTTP_HOST": None}, {"HTTP_COOKIE": "a=b"}),
        *({"HTTP_TRANSFER_ENCODING": "chunked"}, {"HTTP_CONTENT_ENCODING": "gzip"}),
        *({f"HTTP_CE_{name}": "x"} for name in ("SPECVERSION", "ID", "SOURCE", "TYPE")),
        *({f"HTTP_CE_{name}": "x"} for name in ("CLOUDEVENTSVERSION", "EVENTTYPE", "EVENTID")),
        {"HTTP_PACIFICA_NOTIFICATIONS_HOPS": "0"},
        *({"HTTP_USER_AGENT": 'a "b"'}, {"HTTP_REFERER": "\xe9"}, {"REMOTE_USER": "a\tb"}),
    ],
    ids=lambda changed: ascii(changed)[:60],
)
def test_request_is_passed_on_untouched_when_it_is_not_plain(
    fast_path: FastPath, changed: dict[str, Any]
) -> None:
    assert fast_path(**changed) == PASSED_ON
    (environ,) = fast_path.passed_on
    assert (fast_path.stored, fast_path.responses) == ([], [])
    assert environ["wsgi.input"].read() == BODY


def test_event_is_answered_when_it_is_said_to_be_one_and_is(fast_path: FastPath) -> None:
    kind = {"CONTENT_TYPE": "application/cloudevents+json", "CONTENT_LENGTH": str(len(EVENT))}
    answer = fast_path(**kind, **{"wsgi.input": io.BytesIO(EVENT)})
    (event,) = fast_path.stored
    assert answer == [str(event.uuid).encode()]
    assert event.text == EVENT.decode()


@pytest.mark.parametrize(
    "changed",
    [
        {"CONTENT_TYPE": "application/cloudevents+json"},
        {"wsgi.input": io.BytesIO(b'{"a" 1 }')},
    ],
    ids=["without version", "not JSON"],
)
def test_event_is_refused_when_it_is_wrong(fast_path: FastPath, changed: dict[str, Any]) -> None:
    status, _ = fast_path.refusal(**changed)
    assert (status, fast_path.stored) == ("400 Bad Request", [])


TOKEN = "s3cret"  # noqa: S105 one of the tests'
NEAR = "192.0.2.0/24 2001:db8::/32"


@pytest.fixture
def guarded() -> FastPath:
    """Give the fast path of a service that knows who may send events."""
    return FastPath(
        receive_token=("another", TOKEN), receive_allow_addresses=keys.NETWORKS.read(NEAR)
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"REMOTE_ADDR": "192.0.2.255"},
        {"REMOTE_ADDR": "::ffff:192.0.2.1"},
        {"REMOTE_ADDR": "2001:db8::1"},
        {"REMOTE_ADDR": "198.51.100.1", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}"},
        {"REMOTE_ADDR": "", "HTTP_AUTHORIZATION": f"bearer  {TOKEN} "},
        {"REMOTE_ADDR": None, "HTTP_AUTHORIZATION": "Bearer another"},
    ],
    ids=str,
)
def test_event_is_answered_when_its_sender_may_send_it(
    guarded: FastPath, changed: dict[str, Any]
) -> None:
    guarded(**changed)
    assert (len(guarded.stored), guarded.passed_on) == (1, [])


@pytest.mark.parametrize(
    "changed",
    [
        {"REMOTE_ADDR": "192.0.3.1"},
        {"REMOTE_ADDR": "::ffff:192.0.3.1"},
        {"REMOTE_ADDR": ""},
        {"REMOTE_ADDR": None},
        {"REMOTE_ADDR": "unix:"},
        {"REMOTE_ADDR": "198.51.100.1", "HTTP_X_FORWARDED_FOR": "192.0.2.1"},
        {"REMOTE_ADDR": "198.51.100.1", "HTTP_AUTHORIZATION": f"Basic {TOKEN}"},
        {"REMOTE_ADDR": "198.51.100.1", "HTTP_AUTHORIZATION": f"Digest {TOKEN}"},
        {"REMOTE_ADDR": "198.51.100.1", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}x"},
        {"REMOTE_ADDR": "198.51.100.1", "HTTP_AUTHORIZATION": f"Bearer {TOKEN}\0Bearer {TOKEN}"},
        {"REMOTE_ADDR": "198.51.100.1", "HTTP_AUTHORIZATION": "Bearer \xff"},
    ],
    ids=ascii,
)
def test_request_is_passed_on_untouched_when_its_sender_may_not_send(
    guarded: FastPath, changed: dict[str, Any]
) -> None:
    assert guarded(**changed) == PASSED_ON
    (environ,) = guarded.passed_on
    assert guarded.stored == []
    assert environ["wsgi.input"].read() == BODY


def test_request_is_passed_on_when_the_access_log_has_a_format_of_its_own(
    fast_path: FastPath,
) -> None:
    fast_path.log.access_log_format = "{h} {i}"
    assert fast_path() == PASSED_ON


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (StoreUnavailable("canary"), "503 Service Unavailable"),
        (TooLarge(100), f"413 {HTTPStatus(413).phrase}"),
        (RuntimeError("canary"), "500 Internal Server Error"),
    ],
    ids=repr,
)
def test_event_is_refused_when_it_cannot_be_stored(
    fast_path: FastPath, failure: Exception, expected: str
) -> None:
    fast_path.failure = failure
    status, message = fast_path.refusal()
    assert (status, fast_path.nudged) == (expected, [])
    assert "canary" not in message


class Broken(io.BytesIO):
    """A body that cannot be read."""

    def read(self, _size: int | None = -1) -> bytes:
        raise OSError("reset")


@pytest.mark.parametrize("body", [Broken(), io.BytesIO(BODY[:-1])], ids=["broken", "short"])
def test_event_is_refused_when_its_body_does_not_arrive(
    fast_path: FastPath, body: io.BytesIO
) -> None:
    status, _ = fast_path.refusal(**{"wsgi.input": body})
    assert (status, fast_path.stored) == ("400 Bad Request", [])
