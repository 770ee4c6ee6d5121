"""`/openapi.json`: what the API is, in the words of OpenAPI 3.1."""

from functools import partial
from importlib.metadata import version

import cherrypy

from pacifica.notifications.rest.context import KEY, Context, context
from pacifica.notifications.rest.errors import ApiError, encode_text
from pacifica.notifications.rest.openapi.document import description
from pacifica.notifications.rest.request import require_known

__all__ = ["OpenApi", "description"]

_PATH = "/openapi.json"


class OpenApi:
    """Tell programs what the API is; needs no caller."""

    exposed = True

    def __init__(self, shared: Context | None = None) -> None:
        self._encoded: bytes | None = None
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.before_handler": partial(_require_path, {1: ("GET", "HEAD")}),
        }

    def GET(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return the description, as this service is configured."""
        if self._encoded is None:
            described = description(context().settings, version("pacifica-notifications"))
            self._encoded = encode_text(described)
        return self._encoded


def _require_path(methods: dict[int, tuple[str, ...]]) -> None:
    # CherryPy takes any punctuation in a path for an underscore.
    if cherrypy.request.path_info.rstrip("/") != _PATH:
        raise ApiError(404, "there is nothing at this path")
    require_known(methods)
