"""The API's error responses: JSON without internal details."""

import json
from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

import cherrypy

from pacifica.notifications.errors import (
    BatchTooLong,
    IdempotencyMismatch,
    InvalidInput,
    JobConflict,
    PolicyUnavailable,
    StoreUnavailable,
    TooLarge,
    TooManySubscriptions,
    TooManyValues,
)

P = ParamSpec("P")
R = TypeVar("R")

_RETRY_AFTER = 5
_JSON = "application/json"
_UNEXPECTED = (
    "The server encountered an unexpected condition which prevented it from fulfilling the request."
)


def encode_text(thing_obj: Any) -> bytes:
    """Return a response body in UTF-8: text unchanged, anything else as JSON."""
    text = thing_obj if isinstance(thing_obj, str) else json.dumps(thing_obj)
    return text.encode()


class ApiError(cherrypy.HTTPError):
    """An HTTP error whose JSON body has members beyond status and message."""

    def __init__(
        self,
        status: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(status, message)
        self.headers = headers or {}
        self.members = members

    @property
    def status_line(self) -> str:
        """The status with its reason phrase, such as `400 Bad Request`."""
        return f"{self.code} {HTTPStatus(self.code).phrase}"

    @property
    def body(self) -> bytes:
        """The JSON body."""
        return encode_text({"status": self.status_line, "message": self._message, **self.members})

    def set_response(self) -> None:
        """Make this error the response to the current request; CherryPy calls it."""
        super().set_response()
        response = cherrypy.serving.response
        response.body = self.get_error_page()
        response.headers.pop("Content-Length", None)
        response.headers.update(self.headers)

    def get_error_page(self, *_arguments: Any, **_options: Any) -> bytes:
        """Return the JSON body in place of CherryPy's HTML."""
        cherrypy.serving.response.headers["Content-Type"] = _JSON
        return self.body


def error_page_default(**kwargs: Any) -> bytes:
    """Return the JSON body of any error in CherryPy: its `status` and `message`.

    The `traceback` and `version` that CherryPy also passes are not shown.
    """
    cherrypy.response.headers["Content-Type"] = _JSON
    return encode_text({"status": kwargs.get("status", ""), "message": kwargs.get("message", "")})


def api_error(error: Exception) -> ApiError | None:
    """Return the HTTP error (400, 403, 409, 413, 422, 503) for an error; None if unexpected."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, TooLarge | BatchTooLong | TooManyValues):
        return ApiError(413, str(error))
    if isinstance(error, InvalidInput):
        fields = [{"field": field, "reason": reason} for field, reason in error.problems]
        return ApiError(400, str(error), fields=fields)
    if isinstance(error, TooManySubscriptions):
        return ApiError(403, str(error))
    if isinstance(error, JobConflict):
        return ApiError(409, str(error))
    if isinstance(error, IdempotencyMismatch):
        return ApiError(422, str(error))
    if isinstance(error, PolicyUnavailable):
        return ApiError(
            503,
            "Policy cannot say now whether you may see this; try again later",
            headers={"Retry-After": str(_RETRY_AFTER)},
        )
    if isinstance(error, StoreUnavailable):
        return ApiError(
            503,
            "the database is not available; try again later",
            headers={"Retry-After": str(_RETRY_AFTER)},
        )
    return None


def unexpected_error() -> ApiError:
    """Log the current exception with its traceback, and return a 500 error."""
    cherrypy.log(traceback=True)
    return ApiError(500, _UNEXPECTED)


def answering_errors(handler: Callable[P, R]) -> Callable[P, R]:
    """Convert the errors of this package that a handler raises to HTTP errors."""

    @wraps(handler)
    def answer(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except Exception as error:
            answered = api_error(error)
            if answered is None or answered is error:
                raise
            raise answered from error

    return answer
