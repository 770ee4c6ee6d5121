"""A session for requests to one Pacifica service, which its clients use.

By themselves, the clients have no time-outs, follow redirects and report errors poorly. This
session limits the time and size of each response, and raises an error for one without success.
"""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import NewConnectionError

from .configured import Configured
from .errors import ServiceError, shown
from .waiting import Deadline

# How often a refused connection is retried.
_CONNECT_RETRIES = 2
_BACKOFF = 0.1
# The size limit (bytes) of a response that is not a file.
_MOST_BYTES = 1 << 20
_BLOCK = 1 << 16


class Service(requests.Session):
    """A named service; `answer` is its last response, as errors show it."""

    def __init__(self, name: str, configured: Configured) -> None:
        super().__init__()
        self.name = name
        self.answer = "nothing"
        self._timeout = (configured.connect_timeout, configured.read_timeout)
        # As `auth`, because a .netrc file would take precedence over headers.
        self.auth = _Identity(configured.user, configured.authorization)
        self.headers["Accept-Encoding"] = "identity"
        # A request without a response is not sent again, because it may have been processed.
        retries = urllib3.Retry(
            total=None,
            connect=_CONNECT_RETRIES,
            read=False,
            redirect=False,
            status=False,
            other=False,
            backoff_factor=_BACKOFF,
        )
        self.mount("http://", HTTPAdapter(max_retries=retries))
        self.mount("https://", HTTPAdapter(max_retries=retries))

    def request(self, method: str, url: Any, *more: Any, **options: Any) -> requests.Response:
        """Send a request and read the response; raise ServiceError unless it succeeds."""
        with self.opened(method, url, *more, **options) as response:
            body = self._body(response)
        response.raw = io.BytesIO(body)
        return response

    def opened(self, method: str, url: Any, *more: Any, **options: Any) -> requests.Response:
        """Send a request, but do not read the response's body; raise as in `request`."""
        options |= {"timeout": self._timeout, "allow_redirects": False, "stream": True}
        try:
            response = super().request(method, url, *more, **options)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise ServiceError(self.name, f"at {_origin(url)} {self._problem(error)}") from error
        if response.status_code // 100 != 2:
            with response:
                text = _message(response, self._body(response))
            said = f"{response.status_code}: {text}" if text else str(response.status_code)
            raise ServiceError(self.name, f"answered {said}", response.status_code)
        return response

    def reader(self, response: requests.Response, deadline: Deadline) -> Callable[[int], bytes]:
        """Return a function that reads some bytes of a body; empty at its end."""

        def read(size: int) -> bytes:
            deadline.require(self.name, "send its answer")
            try:
                return response.raw.read1(size)
            except (urllib3.exceptions.HTTPError, HTTPException, OSError) as error:
                raise ServiceError(self.name, f"{self._problem(error)} amid its answer") from error

        return read

    def misunderstood(self) -> ServiceError:
        """Return the error for a successful response that cannot be understood."""
        return ServiceError(self.name, f"answered {self.answer or 'nothing'}", 200)

    def _body(self, response: requests.Response) -> bytes:
        read = self.reader(response, Deadline(self._timeout[1]))
        body = b""
        while chunk := read(_BLOCK):
            body += chunk
            if len(body) > _MOST_BYTES:
                raise ServiceError(self.name, f"answered more than {_MOST_BYTES} bytes", 200)
        text = shown(body.decode("utf-8", "replace"))
        self.answer = f"{response.status_code}: {text}" if text else str(response.status_code)
        return body

    def _problem(self, error: Exception) -> str:
        connect, read = self._timeout
        if isinstance(error, requests.ConnectTimeout):
            return f"accepted no connection within {connect:g} s"
        if isinstance(error, requests.ReadTimeout | urllib3.exceptions.ReadTimeoutError):
            return f"sent nothing for {read:g} s"
        if isinstance(error, requests.exceptions.SSLError):
            return "has no trusted certificate"
        linked = list(_linked(error))
        is_unreached = any(isinstance(each, NewConnectionError) for each in linked)
        problem = "cannot be reached" if is_unreached else "broke the connection"
        reason = next(filter(None, map(_reason, linked)), None)
        return f"{problem} ({reason})" if reason else problem


class _Identity(AuthBase):
    """The caller's headers: one for a trusted network, one for a proxy."""

    def __init__(self, user: str | None, authorization: str | None) -> None:
        self._headers = {"Http-Remote-User": user, "Authorization": authorization}

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        for name, value in self._headers.items():
            if value is not None:
                request.headers[name] = value
        return request


def _message(response: requests.Response, body: bytes) -> str:
    """Return the message of a response: Cart has it in a header, CherryPy in JSON."""
    said: Any = response.headers.get("X-Pacifica-Message")
    if not said and body:
        said = body.decode("utf-8", "replace")
        with suppress(ValueError, LookupError, TypeError, RecursionError):
            said = json.loads(said)["message"]
    return shown(str(said or ""))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _linked(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all its causes, wherever they are stored."""
    pending, seen = [error], set[int]()
    while pending:
        each = pending.pop()
        if id(each) not in seen:
            seen.add(id(each))
            yield each
            held = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
            pending += [other for other in held if isinstance(other, BaseException)]


def _reason(error: BaseException) -> str | None:
    """Return the system's message, such as "Connection refused"."""
    # Errors of requests are OSErrors without a number; failed lookups have no number of the system.
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return None
