"""The access log: whatever a client sends, the line is the one that CherryPy would write."""

import logging
from collections.abc import Iterator
from ipaddress import ip_network
from types import SimpleNamespace

import cherrypy
import pytest
from cherrypy import _cplogging
from cherrypy.lib import httputil
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.rest.accesslog import FORMAT, AccessLog

TIME = "[01/Feb/2026:03:04:05]"
HEADER = st.text(st.characters(max_codepoint=255), max_size=20) | st.sampled_from(
    [
        "",
        "curl/8.5",
        'a "quoted" one',
        "it's",
        "back\\slash",
        "é",
        "a\tb\x7f",
        "http://x.org/?a=%20",
    ]
)


class Lines(logging.Handler):
    """Keeps the lines of a log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def line_of(kind: type[_cplogging.LogManager], log_format: str | None = None) -> str:
    log = kind(appid=id(kind), logger_root="tests")
    log.time = lambda: TIME
    if log_format is not None:
        log.access_log_format = log_format
    lines = Lines()
    log.access_log.addHandler(lines)
    log.access_log.propagate = False
    try:
        log.access()
    finally:
        log.access_log.removeHandler(lines)
        cherrypy.engine.unsubscribe("graceful", log.reopen_files)
    (line,) = lines.lines
    return line


def served(
    path: str = "/receive",
    status: bytes | None = b"200 OK",
    login: str | None = None,
    size: int | None = 36,
    **headers: str,
) -> None:
    request = SimpleNamespace(
        remote=httputil.Host("192.0.2.1", 5000, ""),
        login=login,
        request_line=f"POST {path} HTTP/1.1",
        path_info=path.partition("?")[0],
        headers=httputil.HeaderMap(
            {name.replace("_", "-"): each for name, each in headers.items()}
        ),
        unique_id="id",
    )
    answered = httputil.HeaderMap({} if size is None else {"Content-Length": size})
    cherrypy.serving.load(request, SimpleNamespace(output_status=status, headers=answered))


@pytest.fixture(autouse=True)
def nothing_is_served() -> Iterator[None]:
    yield
    cherrypy.serving.clear()


def test_line_says_who_asked_for_what_and_what_was_answered() -> None:
    served(User_Agent="curl/8.5", Referer="http://example.org/")
    assert line_of(AccessLog) == (
        f'192.0.2.1 - - {TIME} "POST /receive HTTP/1.1" 200 36 "http://example.org/" "curl/8.5" id'
    )


def test_line_has_no_token_of_a_link_in_a_mail() -> None:
    served(path="/mail/confirm?token=secret")
    assert '"POST /mail/confirm HTTP/1.1"' in line_of(AccessLog)


@given(agent=HEADER, referer=HEADER, path=HEADER, login=st.none() | HEADER)
def test_line_is_cherrypys_own_whatever_a_client_sends(
    agent: str, referer: str, path: str, login: str | None
) -> None:
    served(f"/{path}", login=login, User_Agent=agent, Referer=referer)
    assert line_of(AccessLog) == line_of(_cplogging.LogManager, FORMAT)


@pytest.mark.parametrize("size", [None, 0, 36])
@pytest.mark.parametrize("status", [None, b"503 Service Unavailable"])
def test_line_is_cherrypys_own_whatever_is_answered(status: bytes | None, size: int | None) -> None:
    served(status=status, size=size)
    assert line_of(AccessLog) == line_of(_cplogging.LogManager, FORMAT)


def test_line_is_as_configured_when_the_format_is_another() -> None:
    served(User_Agent="curl/8.5")
    assert line_of(AccessLog, '{h} {s} "{a}" {i}') == '192.0.2.1 200 "curl/8.5" id'


def test_line_has_a_dash_when_no_event_was_received() -> None:
    served()
    cherrypy.serving.request.unique_id = object()
    assert line_of(AccessLog).endswith(" -")


PROXIES = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.5, 198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("::ffff:10.0.0.1", "198.51.100.7,2001:db8::1", "198.51.100.7"),
        ("10.0.0.1", "2001:470::1", "2001:470::1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", 'x" 200 "', "10.0.0.1"),
        ("10.0.0.1", "198.51.100.7, unknown, 10.0.0.2", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.1"),
    ],
)
def test_client_is_the_one_that_a_trusted_proxy_names(
    peer: str, forwarded: str | None, client: str
) -> None:
    log = AccessLog("proxied", "tests")
    log.trusted_proxies = PROXIES
    environ = {"REMOTE_ADDR": peer}
    if forwarded is not None:
        environ["HTTP_X_FORWARDED_FOR"] = forwarded
    assert log.client(environ) == client
    cherrypy.engine.unsubscribe("graceful", log.reopen_files)
