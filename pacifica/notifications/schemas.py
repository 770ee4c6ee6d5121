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
_TEXT_ATTRIBUTE = {"type": "string", "minLength": 1}
_OPTIONAL_ATTRIBUTE = {"type": ["string", "null"], "minLength": 1}
_REQUIRED_ATTRIBUTES = ["id", "source", "specversion", "type"]

EVENT_0_3: dict[str, Any] = {
    "title": "A CloudEvent of version 0.3",
    "type": "object",
    "properties": {
        "id": _TEXT_ATTRIBUTE,
        "source": _TEXT_ATTRIBUTE,
        "specversion": {"const": "0.3"},
        "type": _TEXT_ATTRIBUTE,
        "datacontentencoding": {
            "type": ["string", "null"],
            "pattern": "^[Bb][Aa][Ss][Ee]64" + _END,
        },
        "datacontenttype": {"type": ["string", "null"], "pattern": "^[^/]+/[^/;]+(;.*)?" + _END},
        "schemaurl": _OPTIONAL_ATTRIBUTE,
        "subject": _OPTIONAL_ATTRIBUTE,
        "time": {"type": ["string", "null"], "format": "date-time"},
        "data": True,
    },
    "propertyNames": {"pattern": "^[a-z][a-z0-9]*" + _END},
    "required": _REQUIRED_ATTRIBUTES,
}

EVENT_1_0: dict[str, Any] = {
    "title": "A CloudEvent of version 1.0",
    "type": "object",
    "properties": {
        "id": _TEXT_ATTRIBUTE,
        "source": _TEXT_ATTRIBUTE,
        "specversion": {"const": "1.0"},
        "type": _TEXT_ATTRIBUTE,
        "datacontenttype": {"type": ["string", "null"], "pattern": "^[^/]+/[^/;]+(;.*)?" + _END},
        "dataschema": _OPTIONAL_ATTRIBUTE,
        "subject": _OPTIONAL_ATTRIBUTE,
        "time": {"type": ["string", "null"], "format": "date-time"},
        "data": True,
        "data_base64": {"type": ["string", "null"], "contentEncoding": "base64"},
    },
    "propertyNames": {"pattern": "^([a-z0-9]+|data_base64)" + _END},
    "additionalProperties": {
        "type": ["string", "boolean", "integer", "null"],
        "minimum": -(2**31),
        "maximum": 2**31 - 1,
    },
    "required": _REQUIRED_ATTRIBUTES,
    "not": {
        "required": ["data", "data_base64"],
        "properties": {"data_base64": {"type": "string"}},
    },
}

_PRINTABLE = "^[^\\u0000-\\u001f\\u007f-\\u009f]*" + _END
_TEXT = {"type": "string", "pattern": _PRINTABLE, "maxLength": 1024}
_AUTH_KINDS = ("basic", "header", "signature")
_FOUR = "(?:[0-9A-Za-z+/]{4})"
# The Base64 of 24 to 64 bytes (Standard Webhooks 1.0.0, Signature scheme).
_SIGNING_SECRET = (
    f"^whsec_(?:{_FOUR}{{8,21}}|{_FOUR}{{8,21}}[0-9A-Za-z+/]{{2}}=="
    f"|{_FOUR}{{8,20}}[0-9A-Za-z+/]{{3}}=){_END}"
)

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
                "type": {"enum": list(_AUTH_KINDS)},
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
                "signature": {
                    "type": "object",
                    "properties": {
                        "secrets": {
                            "type": "array",
                            "items": {
                                "description": "whsec_ and the Base64 of 24 to 64 bytes",
                                "type": "string",
                                "pattern": _SIGNING_SECRET,
                            },
                            "minItems": 1,
                            "maxItems": 4,
                            "uniqueItems": True,
                        },
                    },
                    "required": ["secrets"],
                    "additionalProperties": False,
                },
            },
            "additionalProperties": False,
            "dependentRequired": {kind: ["type"] for kind in _AUTH_KINDS},
            "allOf": [
                {
                    "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
                    "then": {"required": [kind]},
                }
                for kind in _AUTH_KINDS
            ],
        },
        "disabled": {"type": ["string", "null"]},
        "error": {"type": ["string", "null"], "maxLength": 4096},
    },
}

DELIVERY: dict[str, Any] = {
    "title": "In which version of CloudEvents and which mode a subscription gets its events",
    "type": "object",
    "properties": {
        "specversion": {"enum": [None, "0.1", "0.3", "1.0"]},
        "mode": {"enum": ["structured", "binary"]},
    },
}


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
        names = ("null" if each is None else repr(each) for each in wanted)
        return f"must be one of {', '.join(names)}"
    if rule == "maxLength":
        return f"must not be longer than {wanted} characters"
    if rule in ("minLength", "minItems"):
        return "must not be empty"
    if rule == "maxItems":
        return f"must not have more than {wanted}"
    if rule == "uniqueItems":
        return "must not have the same twice"
    if rule == "pattern" and "description" in error.schema:
        return f"must be {error.schema['description']}"
    if rule == "additionalProperties":
        return f"may only have {', '.join(sorted(error.schema['properties']))}"
    if rule == "dependentRequired":
        return "needs a type"
    return "has characters that are not allowed here"
