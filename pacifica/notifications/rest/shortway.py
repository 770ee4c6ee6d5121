"""The short way of a plain event through CherryPy: most are, and CherryPy's own way costs more.

It is a part of CherryPy's pipeline. What is not plain in every respect, or goes wrong, takes the
usual way behind it, so that there is one place that words answers; this one knows only one answer.
"""

import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from uuid import UUID

import cherrypy
from cherrypy.lib import httputil

from pacifica.notifications.events import HOPS_HEADER, parse_event
from pacifica.notifications.events.binary import TELLING
from pacifica.notifications.events.headers import PREFIX
from pacifica.notifications.events.structured import EVENT_TYPE
from pacifica.notifications.rest.accesslog import AccessLog
from pacifica.notifications.rest.body import JSON_TYPES, read_exactly
from pacifica.notifications.rest.receive import FAILURE, take
from pacifica.notifications.rest.senders import may_send
from pacifica.notifications.rest.service import settings

Environ = dict[str, Any]
WsgiApplication = Callable[[Environ, Any], Iterable[bytes]]

_PLAIN = {"REQUEST_METHOD": "POST", "SCRIPT_NAME": "", "PATH_INFO": "/receive", "QUERY_STRING": ""}
# More than any size has.
_DIGITS = 16
_PROTOCOLS = ("HTTP/1.1", "HTTP/1.0")
# Headers that the usual way looks at, beside those below.
_UNUSUAL = frozenset(
    f"HTTP_{name.upper().replace('-', '_')}"
    for name in (
        *("Content-Encoding", "Cookie", "Transfer-Encoding", HOPS_HEADER),
        *(f"{PREFIX}{name}" for name in TELLING),
    )
)
# How long the id is that the answer consists of.
_LENGTH = len(str(UUID(int=0)))
_SERVER = f"CherryPy/{cherrypy.__version__}"


class ShortWay:
    """Takes plain events, and leaves all other requests to what comes after it."""

    def __init__(self, following: WsgiApplication, log: AccessLog) -> None:
        self._following = following
        self._log = log

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        if not _is_plain(environ) or (line := self._line(environ)) is None:
            return self._following(environ, start_response)
        try:
            body = read_exactly(environ["wsgi.input"], int(environ["CONTENT_LENGTH"]))
            strict = environ["CONTENT_TYPE"] == EVENT_TYPE
            event = parse_event(body, settings().receive.max_depth, names_version=strict)
            uuid = take(event, environ["wsgi.multithread"])
        except Exception as error:  # noqa: BLE001 raised again where it is answered
            environ[FAILURE] = error
            return self._following(environ, start_response)
        start_response("200 OK", _headers(int(time.time())))
        self._log.write(line)
        return [str(uuid).encode()]

    def _line(self, environ: Environ) -> str | None:
        return self._log.line(
            client=environ.get("REMOTE_HOST") or environ.get("REMOTE_ADDR", ""),
            login=environ.get("LOGON_USER") or environ.get("REMOTE_USER") or "-",
            request=f"POST /receive {environ['SERVER_PROTOCOL']}",
            status=200,
            size=_LENGTH,
            referer=environ.get("HTTP_REFERER", "").strip(),
            agent=environ.get("HTTP_USER_AGENT", "").strip(),
        )


def _is_plain(environ: Environ) -> bool:
    length = environ.get("CONTENT_LENGTH", "")
    return (
        all(environ.get(name) == value for name, value in _PLAIN.items())
        and environ.get("CONTENT_TYPE") in JSON_TYPES
        and bool(environ.get("HTTP_HOST"))
        and environ.get("SERVER_PROTOCOL") in _PROTOCOLS
        and 0 < len(length) < _DIGITS
        and length.isdecimal()
        and int(length) <= settings().receive.max_body
        and _UNUSUAL.isdisjoint(environ)
        and may_send(environ)
    )


@lru_cache(maxsize=2)
def _headers(second: int) -> list[tuple[str, str]]:
    """Return the headers of an answer, which are the same for a second."""
    return [
        ("Content-Type", "application/json"),
        ("Server", _SERVER),
        ("Date", httputil.HTTPDate(second)),
        ("Allow", "POST"),
        ("Content-Length", str(_LENGTH)),
    ]
