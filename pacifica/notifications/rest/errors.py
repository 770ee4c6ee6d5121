"""Errors as the API answers them: JSON with a status and a message, and nothing from inside."""

from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar

import cherrypy

from pacifica.notifications.errors import InvalidInput, StoreUnavailable, TooLarge, TooMany
from pacifica.notifications.rest.text import encode_text

P = ParamSpec("P")
R = TypeVar("R")

_RETRY_AFTER = 5
_JSON = "application/json"


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

    def set_response(self) -> None:
        """Make this error the response, with its headers and unpadded."""
        super().set_response()
        response = cherrypy.serving.response
        response.body = self.get_error_page()
        response.headers.pop("Content-Length", None)
        response.headers.update(self.headers)

    def get_error_page(self, *_arguments: Any, **_options: Any) -> bytes:
        """Return the body; CherryPy's own would be HTML."""
        phrase = HTTPStatus(self.code).phrase
        cherrypy.serving.response.headers["Content-Type"] = _JSON
        body = {"status": f"{self.code} {phrase}", "message": self._message, **self.members}
        return encode_text(body)


def error_page_default(**kwargs: Any) -> bytes:
    """Return the JSON body of any error that CherryPy meets: its `status` and `message`.

    The `traceback` and `version` that CherryPy also passes stay inside.
    """
    cherrypy.response.headers["Content-Type"] = _JSON
    return encode_text({"status": kwargs.get("status", ""), "message": kwargs.get("message", "")})


def answering_errors(handler: Callable[P, R]) -> Callable[P, R]:
    """Turn what a handler raises into an HTTP error: 400, 403 or 413, and 503 for an outage."""

    @wraps(handler)
    def answer(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return handler(*args, **kwargs)
        except InvalidInput as error:
            fields = [{"field": field, "reason": reason} for field, reason in error.problems]
            raise ApiError(400, str(error), fields=fields) from error
        except TooLarge as error:
            raise ApiError(413, str(error)) from error
        except TooMany as error:
            raise ApiError(403, str(error)) from error
        except StoreUnavailable as error:
            cherrypy.log(f"answering 503: {error}", traceback=False)
            raise ApiError(
                503,
                "the database is not available; try again later",
                headers={"Retry-After": str(_RETRY_AFTER)},
            ) from error

    return answer
