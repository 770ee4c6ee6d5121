"""`/receive`: what is sent there, and all that may be answered."""

from typing import Any

from pacifica.notifications.events import HOPS_HEADER
from pacifica.notifications.rest.openapi import examples
from pacifica.notifications.rest.openapi.answers import (
    CHALLENGE,
    JSON,
    OF_A_BODY,
    OF_THE_SERVER,
    UNAVAILABLE,
    Answers,
    done,
    error,
    in_order,
)
from pacifica.notifications.rest.openapi.objects import reference
from pacifica.notifications.settings import Settings

_ABOUT = """\
The content type says how an event comes: structured (`application/cloudevents+json`, or
`application/json` without `ce-` headers), as a batch (`application/cloudevents-batch+json`), or in
binary mode, where headers that begin with `ce-` have its attributes, and the body is its data, of
whatever content type."""
#: The attributes that binary mode has as headers, beside those of extensions.
_ATTRIBUTES = {
    "specversion": "The version of CloudEvents; that it is there means binary mode.",
    "id": "Which event of its source it is.",
    "source": "Where it comes from.",
    "type": "What kind of event it is.",
    "time": "When it happened (RFC 3339).",
    "subject": "What of its source it is about.",
    "dataschema": "What its data adheres to.",
}


def paths(settings: Settings, security: list[Any]) -> dict[str, Any]:
    """Return the path of events; `security` is what it asks of a producer."""
    stored = done(
        "Each event is on disk, and will be dispatched. The body is the id by which it can be "
        "found again, as plain text; of a batch, a JSON array of ids in the order of its events."
    )
    # No schema: a bare id is not JSON, though producers have always been told that it is.
    stored["content"] = {JSON: {"example": examples.EVENT_UUID}}
    operation = {
        "operationId": "sendEvent",
        "tags": ["events"],
        "summary": "Send an event, or a batch of them.",
        "description": _ABOUT,
        "security": security,
        "parameters": _parameters(settings),
        "requestBody": {"required": True, "content": _contents()},
        "responses": in_order(
            OF_THE_SERVER,
            OF_A_BODY,
            UNAVAILABLE,
            _refusals(settings),
            {
                "200": stored,
                "400": error("What was sent breaks a rule; `fields` says where."),
                "508": error("The event goes round and round between services like this one."),
            },
        ),
    }
    return {"/receive": {"post": operation}}


def _refusals(settings: Settings) -> Answers:
    if settings.receive.token:
        return {"401": error("There is no token that is known.", CHALLENGE)}
    if settings.receive.allow_addresses:
        return {"403": error("Events may not be sent from the producer's address.")}
    return {}


def _parameters(settings: Settings) -> list[dict[str, Any]]:
    hops = {"type": "integer", "minimum": 0, "maximum": settings.receive.max_hops}
    compressed = {"enum": ["gzip", "x-gzip", "identity"]}
    return [
        *(_header(f"ce-{name}", meaning) for name, meaning in _ATTRIBUTES.items()),
        _header("Content-Encoding", "How the body is compressed.", compressed),
        _header(HOPS_HEADER, "How many services like this one an event came through.", hops),
    ]


def _header(name: str, meaning: str, rule: dict[str, Any] | None = None) -> dict[str, Any]:
    schema = rule or {"type": "string"}
    return {"name": name, "in": "header", "description": meaning, "schema": schema}


def _contents() -> dict[str, Any]:
    return {
        JSON: {"schema": reference("EventOrObject"), "example": examples.EVENT_0_1},
        "application/cloudevents+json": {
            "schema": reference("Event"),
            "example": examples.EVENT_1_0,
        },
        "application/cloudevents-batch+json": {
            "schema": reference("Batch"),
            "example": [examples.EVENT_1_0, examples.EVENT_0_1],
        },
        "*/*": {},
    }
