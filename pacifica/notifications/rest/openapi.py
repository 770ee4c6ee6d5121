"""`/openapi.json`: the API as an OpenAPI 3.1 document.

The document is shipped as a data file. The parts that depend on the configuration, and the JSON
schemas that validate bodies, are added here.
"""

import json
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import cherrypy

from pacifica.notifications.events import (
    EVENT_SCHEMA_0_1,
    EVENT_SCHEMA_0_3,
    EVENT_SCHEMA_1_0,
    HOPS_HEADER,
)
from pacifica.notifications.rest.context import KEY, Context, context
from pacifica.notifications.rest.errors import ApiError, encode_text
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.settings import NotificationsSettings, ReceiveSettings
from pacifica.notifications.subscriptions import DELIVERY_FORMAT_SCHEMA, SUBSCRIPTION_SCHEMA

_PATH = "/openapi.json"


class OpenApi:
    """Describe the API to any caller, without authentication."""

    exposed = True

    def __init__(self, shared: Context | None = None) -> None:
        self._encoded: bytes | None = None
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.before_handler": partial(_require_path, {1: ("GET", "HEAD")}),
        }

    def GET(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return the description of this service as it is configured."""
        if self._encoded is None:
            settings = context().settings
            described = description(
                settings.notifications,
                settings.receive,
                settings.eventmatch.jsonpath_max_length,
                version("pacifica-notifications"),
            )
            self._encoded = encode_text(described)
        return self._encoded


def description(
    caller: NotificationsSettings, receive: ReceiveSettings, max_jsonpath: int, release: str
) -> dict[str, Any]:
    """Return the API description for a service with these settings and of this release.

    A JSONPath of that service may have `max_jsonpath` characters.
    """
    shipped = files(__package__).joinpath("openapi.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(shipped)
    document["info"]["version"] = release
    components = document["components"]
    components["securitySchemes"]["caller"]["name"] = caller.user_header
    if not receive.token:
        del components["securitySchemes"]["bearer"]
    _describe_bodies(components["schemas"], receive.max_batch, max_jsonpath)
    for path, methods in document["paths"].items():
        if path.startswith(("/audit", "/backtests", "/eventmatch", "/events", "/expressions")):
            for method in methods.keys() - {"parameters"}:
                methods[method]["security"] = _caller_security(caller.default_user)
    _describe_receive(document["paths"]["/receive"]["post"], receive)
    return document


def _describe_bodies(schemas: dict[str, Any], max_batch: int, max_jsonpath: int) -> None:
    """Add the schemas that validate bodies to the shipped texts and examples."""
    schemas["Event03"], schemas["Event10"] = EVENT_SCHEMA_0_3, EVENT_SCHEMA_1_0
    schemas["Event01"] = {
        **EVENT_SCHEMA_0_1,
        "required": ["cloudEventsVersion", *EVENT_SCHEMA_0_1["required"]],
        **schemas["Event01"],
    }
    schemas["Delivery"] = {**DELIVERY_FORMAT_SCHEMA, **schemas["Delivery"]}
    # Beside `type`, as generators of clients cannot have an array among several kinds of bodies.
    schemas["Batch"]["allOf"].append({"maxItems": max_batch})
    for name in ("NewSubscription", "SubscriptionChanges"):
        described = schemas[name]["properties"]
        for field, rule in SUBSCRIPTION_SCHEMA["properties"].items():
            if "type" not in described[field]:
                described[field] = {**rule, **described[field]}
        described["jsonpath"]["maxLength"] = max_jsonpath


def _describe_receive(operation: dict[str, Any], receive: ReceiveSettings) -> None:
    token, addresses = receive.token, receive.allow_addresses
    operation["security"] = [{"bearer": []}, *([{}] if addresses else [])] if token else []
    if not token:
        del operation["responses"]["401"]
    if token or not addresses:
        del operation["responses"]["403"]
    (hops,) = (each for each in operation["parameters"] if each["name"] == HOPS_HEADER)
    hops["schema"]["maximum"] = receive.max_hops


def _caller_security(default_user: str) -> list[dict[str, list[str]]]:
    """Return what /eventmatch requires; the header is optional with a default user."""
    return [{"caller": []}, *([{}] if default_user else [])]


def _require_path(methods: dict[int, tuple[str, ...]]) -> None:
    # CherryPy treats any punctuation in a path as an underscore.
    if cherrypy.request.path_info.rstrip("/") != _PATH:
        raise ApiError(404, "there is nothing at this path")
    require_known(methods)
