"""`/openapi.json`: what the API is, in the words of OpenAPI 3.1."""

from functools import cache, partial
from importlib.metadata import version

import cherrypy

from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.openapi.document import description
from pacifica.notifications.rest.paths import require_known
from pacifica.notifications.rest.service import settings
from pacifica.notifications.rest.text import encode_text

__all__ = ["OpenApi", "description"]

_PATH = "/openapi.json"


class OpenApi:
    """Tell programs what the API is; needs no caller."""

    exposed = True

    def GET(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return the description, as this service is configured."""
        return _encoded()

    @staticmethod
    def _require_path(methods: dict[int, tuple[str, ...]]) -> None:
        # CherryPy takes any punctuation in a path for an underscore.
        if cherrypy.request.path_info.rstrip("/") != _PATH:
            raise ApiError(404, "there is nothing at this path")
        require_known(methods)

    _cp_config = {  # noqa: RUF012
        "hooks.before_handler": partial(_require_path, {1: ("GET", "HEAD")})
    }


@cache
def _encoded() -> bytes:
    return encode_text(description(settings(), version("pacifica-notifications")))
