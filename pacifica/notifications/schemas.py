"""The JSON schemas of what comes in by HTTP, checked with one prebuilt validator each."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from pacifica.notifications.errors import InvalidInput

EVENT_0_1: dict[str, Any] = {
    "title": "A CloudEvent of version 0.1, or any other object that names no version",
    "type": "object",
    "properties": {
        "cloudEventsVersion": {"const": "0.1"},
        "eventType": {"type": "string", "minLength": 1},
        "eventTypeVersion": {"type": ["string", "null"]},
        "source": {"type": "string", "minLength": 1},
        "eventID": {"type": "string", "minLength": 1},
        "eventTime": {"type": ["string", "null"]},
        "schemaURL": {"type": ["string", "null"]},
        "contentType": {"type": ["string", "null"]},
        "extensions": {"type": ["object", "null"]},
    },
    "required": ["eventType", "source", "eventID"],
}

# Python's `$` also matches before a newline that ends the text.
_END = "$(?!\\n)"
_PRINTABLE = "^[^\\u0000-\\u001f\\u007f-\\u009f]*" + _END
_TEXT = {"type": "string", "pattern": _PRINTABLE, "maxLength": 1024}

SUBSCRIPTION: dict[str, Any] = {
    "title": "What a caller may set of a subscription",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _PRINTABLE},
        "jsonpath": {"type": "string", "minLength": 1, "pattern": _PRINTABLE},
        "target_url": {"type": "string", "minLength": 1, "maxLength": 2048},
        "extensions": {"type": "object"},
        "auth": {
            "type": ["object", "null"],
            "properties": {
                "type": {"enum": ["basic", "header"]},
                "basic": {
                    "type": "object",
                    "properties": {
                        "username": {
                            **_TEXT,
                            "pattern": "^[^:\\u0000-\\u001f\\u007f-\\u009f]*" + _END,
                        },
                        "password": _TEXT,
                    },
                    "required": ["username", "password"],
                    "additionalProperties": False,
                },
                "header": {
                    "type": "object",
                    "properties": {
                        "type": {
                            "type": "string",
                            "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+" + _END,
                            "maxLength": 64,
                        },
                        "credentials": {
                            "type": "string",
                            "pattern": "^[!-~](?:[ -~]*[!-~])?" + _END,
                            "maxLength": 8192,
                        },
                    },
                    "required": ["type", "credentials"],
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
            "dependentRequired": {"basic": ["type"], "header": ["type"]},
            "allOf": [
                {
                    "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                    "then": {"required": [kind]},
                }
                for kind in ("basic", "header")
            ],
        },
        "disabled": {"type": ["string", "null"]},
        "error": {"type": ["string", "null"], "maxLength": 4096},
    },
}

_SECRETS = ("password", "credentials", "username")


class Schema:
    """A JSON schema that says which field breaks which rule, without repeating secrets."""

    def __init__(self, schema: dict[str, Any]) -> None:
        Draft202012Validator.check_schema(schema)
        self._validator = Draft202012Validator(schema)

    def check(self, value: Any) -> None:
        """Raise InvalidInput with every rule that the value breaks."""
        problems = tuple(dict.fromkeys(self._problems(value)))
        if problems:
            raise InvalidInput(*problems)

    def _problems(self, value: Any) -> Iterator[tuple[str, str]]:
        for error in self._validator.iter_errors(value):
            place = [str(part) for part in error.absolute_path]
            if error.validator == "required":
                for name in error.validator_value:
                    if name not in error.instance:
                        yield ".".join([*place, name]), "is required"
            else:
                yield ".".join(place) or "body", _say(error)


def _say(error: ValidationError) -> str:
    """Word one broken rule; the value itself is never repeated, for it may be a secret or long."""
    rule, wanted = error.validator, error.validator_value
    if rule == "type":
        return f"must be {' or '.join(wanted) if isinstance(wanted, list) else wanted}"
    if rule == "const":
        return f"must be {wanted!r}"
    if rule == "enum":
        return f"must be one of {', '.join(map(repr, wanted))}"
    if rule == "maxLength":
        return f"must not be longer than {wanted} characters"
    if rule == "minLength":
        return "must not be empty"
    if rule == "additionalProperties":
        return f"may only have {', '.join(sorted(error.schema['properties']))}"
    if rule == "dependentRequired":
        return "needs a type"
    return "has characters that are not allowed here"
