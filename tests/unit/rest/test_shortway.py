"""The short way: what takes it, and what is left to CherryPy's own."""

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import cherrypy
import pytest

from pacifica.notifications.errors import InvalidInput, StoreUnavailable
from pacifica.notifications.events import Event
from pacifica.notifications.rest import service, shortway
from pacifica.notifications.rest.accesslog import AccessLog
from pacifica.notifications.rest.receive import FAILURE
from pacifica.notifications.rest.shortway import ShortWay

ROOT = Path(__file__).parents[3]
TAKEN = UUID("00000000-0000-4000-8000-000000000001")
BODY = b'{"a": 1}'
EVENT = b'{"specversion": "1.0", "id": "i", "source": "s", "type": "t"}'
USUAL = [b"by the usual way"]
#: Prints the names of what a request passes on its way into CherryPy.
PARTS = """
import sys
from pacifica.notifications.rest.root import application
print(*[name for name, _ in application(sys.argv[1]).wsgiapp.pipeline])
"""


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


class Way:
    """A short way whose events are taken by the test, and what comes after it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: list[tuple[str, int, bool]] = []
        self.statuses: list[str] = []
        self.passed_on: list[dict[str, Any]] = []
        self.failure: Exception | None = None
        monkeypatch.setattr(shortway, "take", self._take)
        self.log = AccessLog("short way", "tests")
        self._way = ShortWay(self._usual, self.log)

    def __call__(self, **changed: Any) -> list[bytes]:
        return list(
            self._way(environ_of(**changed), lambda status, _: self.statuses.append(status))
        )

    def _take(self, event: Event, multithread: bool) -> UUID:
        self.taken.append((event.text, event.hops, multithread))
        if self.failure is not None:
            raise self.failure
        return TAKEN

    def _usual(self, environ: dict[str, Any], _start_response: Any) -> list[bytes]:
        self.passed_on.append(environ)
        return USUAL


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Way:
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", "/nonexistent/config.ini")
    return Way(monkeypatch)


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
def test_event_takes_the_short_way_when_its_request_is_plain(
    way: Way, changed: dict[str, Any]
) -> None:
    assert way(**changed) == [str(TAKEN).encode()]
    assert (way.taken, way.statuses, way.passed_on) == ([(BODY.decode(), 0, True)], ["200 OK"], [])


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
def test_request_is_left_to_the_usual_way_untouched_when_it_is_not_plain(
    way: Way, changed: dict[str, Any]
) -> None:
    assert way(**changed) == USUAL
    (environ,) = way.passed_on
    assert (way.taken, way.statuses, FAILURE in environ) == ([], [], False)
    assert environ["wsgi.input"].read() == BODY


def test_event_takes_the_short_way_when_it_is_said_to_be_one_and_is(way: Way) -> None:
    kind = {"CONTENT_TYPE": "application/cloudevents+json", "CONTENT_LENGTH": str(len(EVENT))}
    assert way(**kind, **{"wsgi.input": io.BytesIO(EVENT)}) == [str(TAKEN).encode()]
    assert way.taken == [(EVENT.decode(), 0, True)]


@pytest.mark.parametrize(
    "changed",
    [
        {"CONTENT_TYPE": "application/cloudevents+json"},
        {"wsgi.input": io.BytesIO(b'{"a" 1 }')},
    ],
    ids=["without version", "not JSON"],
)
def test_failure_is_left_to_the_usual_way_to_answer_when_an_event_is_wrong(
    way: Way, changed: dict[str, Any]
) -> None:
    assert way(**changed) == USUAL
    assert isinstance(way.passed_on[0][FAILURE], InvalidInput)
    assert way.taken == []


TOKEN = "s3cret"  # noqa: S105 one of the tests'
NEAR = "192.0.2.0/24 2001:db8::/32"


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """Give a short way of a service that knows who may send events."""
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", "/nonexistent/config.ini")
    monkeypatch.setenv("RECEIVE_TOKEN", f"another {TOKEN}")
    monkeypatch.setenv("RECEIVE_ALLOW_ADDRESSES", NEAR)
    service.settings.cache_clear()
    yield Way(monkeypatch)
    service.settings.cache_clear()


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
def test_event_takes_the_short_way_when_its_sender_may_send_it(
    guarded: Way, changed: dict[str, Any]
) -> None:
    assert guarded(**changed) == [str(TAKEN).encode()]


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
def test_request_is_left_to_the_usual_way_untouched_when_its_sender_may_not_send(
    guarded: Way, changed: dict[str, Any]
) -> None:
    assert guarded(**changed) == USUAL
    (environ,) = guarded.passed_on
    assert (guarded.taken, FAILURE in environ) == ([], False)
    assert environ["wsgi.input"].read() == BODY


def test_request_is_left_to_the_usual_way_when_the_access_log_has_a_format_of_its_own(
    way: Way,
) -> None:
    way.log.access_log_format = "{h} {i}"
    assert way() == USUAL


def test_failure_is_left_to_the_usual_way_to_answer_when_an_event_is_not_taken(way: Way) -> None:
    way.failure = StoreUnavailable("away")
    assert way() == USUAL
    assert way.passed_on[0][FAILURE] is way.failure
    assert (len(way.taken), way.statuses) == (1, [])


class Broken(io.BytesIO):
    """A body that cannot be read."""

    def read(self, _size: int | None = -1) -> bytes:
        raise OSError("reset")


@pytest.mark.parametrize("body", [Broken(), io.BytesIO(BODY[:-1])], ids=["broken", "short"])
def test_failure_is_400_when_the_body_does_not_come(way: Way, body: io.BytesIO) -> None:
    assert way(**{"wsgi.input": body}) == USUAL
    failure = way.passed_on[0][FAILURE]
    assert isinstance(failure, cherrypy.HTTPError)
    assert failure.code == 400
    assert way.taken == []


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (None, True),
        (ROOT / "server.conf", True),
        ("[global]\nserver.socket_port: 8071\nlog.screen: False\n", True),
        ("[/]\ntools.gzip.on: True\n", False),
        ("[/receive]\nresponse.headers.X-Own: 'yes'\n", False),
        ("[global]\nrequest.throw_errors: False\n", False),
    ],
    ids=["none", "the shipped one", "of the server", "a tool", "a header", "of all requests"],
)
def test_short_way_is_there_unless_a_cherrypy_file_changes_how_requests_are_answered(
    tmp_path: Path, file: Path | str | None, expected: bool
) -> None:
    path = tmp_path / "cherrypy.conf"
    if file is not None:
        path.write_text(file if isinstance(file, str) else file.read_text())
    # In a process of its own: CherryPy has one configuration for all that runs in one.
    command = [sys.executable, "-c", PARTS, str(path)]
    said = subprocess.run(
        command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=30
    )
    assert ("short_way" in said.stdout.split()) == expected
