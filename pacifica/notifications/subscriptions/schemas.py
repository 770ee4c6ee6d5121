"""The JSON schemas of the request bodies of `/eventmatch`."""

from typing import Any

from pacifica.notifications.subscriptions.format import Digest, Format

# Python's `$` also matches before a newline that ends the text.
_END = "$(?!\\n)"
_PRINTABLE = "^[^\\u0000-\\u001f\\u007f-\\u009f]*" + _END
_TEXT = {"type": "string", "pattern": _PRINTABLE, "maxLength": 1024}
_AUTH_KINDS = ("basic", "header", "signature")
_FOUR = "(?:[0-9A-Za-z+/]{4})"
# The Base64 of 24 to 64 bytes (Standard Webhooks 1.0.0, Signature scheme).
_SIGNING_SECRET = (
    f"^whsec_(?:{_FOUR}{{8,21}}|{_FOUR}{{8,21}}[0-9A-Za-z+/]{{2}}=="
    f"|{_FOUR}{{8,20}}[0-9A-Za-z+/]{{3}}=){_END}"
)

SUBSCRIPTION_SCHEMA: dict[str, Any] = {
    "description": "What a caller may set of a subscription.",
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _PRINTABLE},
        "jsonpath": {"type": "string", "minLength": 1, "pattern": _PRINTABLE},
        "target_url": {"type": "string", "minLength": 1, "maxLength": 2048},
        "extensions": {"type": "object", "additionalProperties": True},
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
                    # What linters of the API's description ask for, beside `required`.
                    "then": {
                        "properties": {kind: {}},
                        "required": [kind],
                        "additionalProperties": True,
                    },
                }
                for kind in _AUTH_KINDS
            ],
        },
        "disabled": {"type": ["string", "null"]},
        "error": {"type": ["string", "null"], "maxLength": 4096},
    },
}

DELIVERY_FORMAT_SCHEMA: dict[str, Any] = {
    "description": "In which form a subscription gets events, and whether failures are mailed.",
    "type": "object",
    "properties": {
        "specversion": {"enum": [None, "0.1", "0.3", "1.0"]},
        "mode": {"enum": ["structured", "binary"]},
        "format": {"enum": [str(each) for each in Format]},
        "digest": {"enum": [str(each) for each in Digest]},
        "tell_owner": {"type": "boolean"},
    },
}
