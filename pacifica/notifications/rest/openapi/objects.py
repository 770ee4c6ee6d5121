"""The objects that go out and come in: their schemas, which the code checks by, and examples."""

from typing import Any

from pacifica.notifications.events.schemas import EVENT_0_1, EVENT_0_3, EVENT_1_0
from pacifica.notifications.rest.openapi.examples import BASIC, SUBSCRIPTION_READ
from pacifica.notifications.settings import Settings
from pacifica.notifications.subscriptions import REQUIRED, VERSION
from pacifica.notifications.subscriptions.schemas import DELIVERY, SUBSCRIPTION

Schema = dict[str, Any]

_RULES: dict[str, Schema] = SUBSCRIPTION["properties"]
_ONLY_ON_CHANGE = frozenset({"disabled", "error"})
_MEANINGS = {
    "name": "What its owner calls it.",
    "jsonpath": "Which events match: those in which it finds something.",
    "target_url": "Where events go: an http or https URL with a host and without credentials.",
    "extensions": "What is laid over the extensions of each event that it gets.",
    "auth": "How the service authenticates itself to the target; null and {}: it does not.",
    "disabled": "Since when it gets nothing (ISO 8601, UTC); null: it is enabled.",
    "error": "What disabled it.",
}
_MOMENT = {
    "type": "string",
    "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{6})?$",
    "description": "UTC, ISO 8601 with microseconds and without an offset.",
}
_ID = {"type": "string", "format": "uuid"}
_OBJECT = {"type": "object"}


def schemas(settings: Settings) -> dict[str, Schema]:
    """Return every object by its name."""
    return {
        "Error": _ERROR,
        "Subscription": _subscription(),
        "NewSubscription": _new_subscription(settings),
        "SubscriptionChanges": _changes(settings),
        "Delivery": {**DELIVERY, "additionalProperties": False},
        "Event01": _event_0_1(),
        "Event03": EVENT_0_3,
        "Event10": EVENT_1_0,
        "Event": {
            "title": "A CloudEvent of any version",
            "oneOf": [reference(name) for name in ("Event10", "Event03", "Event01")],
        },
        "EventOrObject": {
            "title": "A CloudEvent, or an object that names no version, which is taken as it is",
            "anyOf": [
                reference("Event"),
                {
                    "type": "object",
                    "not": {
                        "anyOf": [
                            {"required": ["specversion"]},
                            {"required": ["cloudEventsVersion"]},
                        ]
                    },
                },
            ],
        },
        "Batch": {
            "title": "CloudEvents that are stored all or none",
            "type": "array",
            "items": reference("Event"),
            "maxItems": settings.receive.max_batch,
        },
    }


def reference(name: str) -> Schema:
    """Return the reference to an object."""
    return {"$ref": f"#/components/schemas/{name}"}


_ERROR: Schema = {
    "title": "An error",
    "type": "object",
    "properties": {
        "status": {"type": "string", "description": "The status and its phrase."},
        "message": {"type": "string", "description": "What was wrong, in one line."},
        "fields": {
            "type": "array",
            "description": "Each field that was wrong, and why.",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
                "required": ["field", "reason"],
                "additionalProperties": False,
            },
            "minItems": 1,
        },
        "hops": {
            "type": "integer",
            "description": "With 508: how many services an event came through.",
        },
    },
    "required": ["status", "message"],
}


def _event_0_1() -> Schema:
    return {
        **EVENT_0_1,
        "title": "A CloudEvent of version 0.1",
        "required": ["cloudEventsVersion", *EVENT_0_1["required"]],
        "not": {"required": ["specversion"]},
    }


def _subscription() -> Schema:
    members: dict[str, Schema] = {
        "uuid": _ID,
        "name": {"type": "string"},
        "jsonpath": {"type": "string"},
        "user": {"type": "string", "description": "Its owner."},
        "disabled": _or_null(_MOMENT),
        "error": _or_null({"type": "string"}),
        "target_url": {"type": "string"},
        "version": {"type": "string"},
        "extensions": _OBJECT,
        "auth": _OBJECT,
        "created": _MOMENT,
        "updated": _MOMENT,
        "deleted": {"type": "null", "description": "Those that are deleted are not shown."},
    }
    return {
        "title": "A subscription as its owner reads it",
        "type": "object",
        "properties": _with_meanings(members),
        "required": list(members),
        "additionalProperties": False,
        "examples": [SUBSCRIPTION_READ],
    }


def _new_subscription(settings: Settings) -> Schema:
    settable = _rules(settings) | {name: {"type": "null"} for name in _ONLY_ON_CHANGE}
    return {
        "title": "What makes a subscription",
        "type": "object",
        "properties": {
            **_with_meanings(settable),
            "version": {"const": VERSION},
            "deleted": {"type": "null"},
        },
        "required": list(REQUIRED),
        "additionalProperties": False,
    }


def _changes(settings: Settings) -> Schema:
    read_only = {
        name: {**rule, "readOnly": True}
        for name, rule in _subscription()["properties"].items()
        if name not in _RULES
    }
    return {
        "title": "What changes a subscription",
        "description": "What is not named keeps its value. What cannot be set may be named with "
        "the value that it has, so that what was read can be edited and sent back.",
        "type": "object",
        "properties": {**_with_meanings(_rules(settings)), **read_only},
        "additionalProperties": False,
    }


def _rules(settings: Settings) -> dict[str, Schema]:
    """Return what may be set, with what the code checks beside the schema."""
    return {
        **_RULES,
        "jsonpath": {
            **_RULES["jsonpath"],
            "format": "jsonpath2",
            "maxLength": settings.eventmatch.jsonpath_max_length,
        },
        "target_url": {**_RULES["target_url"], "format": "uri"},
        "auth": {**_RULES["auth"], "examples": [BASIC]},
        "disabled": {**_RULES["disabled"], "format": "date-time"},
    }


def _with_meanings(members: dict[str, Schema]) -> dict[str, Schema]:
    return {
        name: {**rule, "description": _MEANINGS[name]} if name in _MEANINGS else rule
        for name, rule in members.items()
    }


def _or_null(rule: Schema) -> Schema:
    return {**rule, "type": [rule["type"], "null"]}
