"""The description of the API: one OpenAPI document, made of what the code itself checks by.

The rules are those of the OpenAPI Specification 3.1, whose schemas are JSON Schema 2020-12.
"""

from typing import Any

from pacifica.notifications.rest.openapi import eventmatch, receive
from pacifica.notifications.rest.openapi.answers import (
    OF_THE_SERVER,
    SHARED,
    done,
    error,
    get_and_head,
    in_order,
)
from pacifica.notifications.rest.openapi.objects import schemas
from pacifica.notifications.settings import Settings

CALLER = "caller"
BEARER = "bearer"

_ABOUT = """\
Subscriptions to the events of a Pacifica installation, and the way in for those events.

Every answer has the content type `application/json`. Every error is an object with a `status`, a
`message` and, where fields of the body are wrong, `fields`. A path that is not here is answered
404; a method that a path does not have is answered 405, with `Allow`. HEAD is answered as GET is,
without a body. No path takes query parameters: 400.

The JSON that is read is strict: UTF-8 without a byte order mark, no name twice in one object, no
NaN or Infinity."""


def description(settings: Settings, version: str) -> dict[str, Any]:
    """Return the description of the API of a service with these settings, of this version."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Pacifica notifications",
            "version": version,
            "description": _ABOUT,
        },
        "servers": [{"url": "/", "description": "where this description was found"}],
        "tags": [
            {"name": "subscriptions", "description": "A caller's own subscriptions."},
            {"name": "events", "description": "The way in for events."},
            {"name": "description", "description": "What the API is."},
        ],
        "paths": {
            **eventmatch.paths(settings, _who_calls(settings)),
            **receive.paths(settings, _who_sends(settings)),
            "/openapi.json": get_and_head(_DESCRIBING),
        },
        "components": {
            "schemas": schemas(settings),
            "responses": SHARED,
            "securitySchemes": {
                CALLER: {
                    "type": "apiKey",
                    "in": "header",
                    "name": settings.notifications.user_header,
                    "description": "The caller's name, which the authenticating proxy in front "
                    "sets: 1 to 255 characters in UTF-8, none of them a control character or one "
                    "of `/ ? # & % = \\ ,`.",
                },
                BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `[receive] token`, where the service has any.",
                },
            },
        },
    }


_DESCRIBING: dict[str, Any] = {
    "operationId": "describe",
    "tags": ["description"],
    "summary": "Read this description.",
    "security": [],
    "responses": in_order(
        OF_THE_SERVER,
        {
            "200": done("The description.", {"schema": {"type": "object"}}),
            "400": error("There are query parameters."),
        },
    ),
}


def _who_calls(settings: Settings) -> list[dict[str, list[str]]]:
    """Return what /eventmatch asks for; without a header, the default user calls."""
    return [{CALLER: []}, *([{}] if settings.notifications.default_user else [])]


def _who_sends(settings: Settings) -> list[dict[str, list[str]]]:
    """Return what /receive asks for; where there are addresses, they will do instead."""
    if not settings.receive.token:
        return []
    return [{BEARER: []}, *([{}] if settings.receive.allow_addresses else [])]
