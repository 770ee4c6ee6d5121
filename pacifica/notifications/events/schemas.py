"""The JSON schemas of CloudEvents 0.1, 0.3 and 1.0, for the API's description."""

from typing import Any

EVENT_SCHEMA_0_1: dict[str, Any] = {
    "description": "A CloudEvent of version 0.1, or any other object that names no version.",
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
        "extensions": {"type": ["object", "null"], "additionalProperties": True},
    },
    "additionalProperties": True,
    "required": ["eventType", "source", "eventID"],
}

# Python's `$` also matches before a newline that ends the text.
_END = "$(?!\\n)"
_TEXT_ATTRIBUTE = {"type": "string", "minLength": 1}
_OPTIONAL_ATTRIBUTE = {"type": ["string", "null"], "minLength": 1}
_REQUIRED_ATTRIBUTES = ["id", "source", "specversion", "type"]
# The attributes that 0.3 and 1.0 have in common.
_ATTRIBUTES: dict[str, Any] = {
    "id": _TEXT_ATTRIBUTE,
    "source": _TEXT_ATTRIBUTE,
    "type": _TEXT_ATTRIBUTE,
    "datacontenttype": {"type": ["string", "null"], "pattern": "^[^/]+/[^/;]+(;.*)?" + _END},
    "subject": _OPTIONAL_ATTRIBUTE,
    "time": {"type": ["string", "null"], "format": "date-time"},
    "data": {},
}

EVENT_SCHEMA_0_3: dict[str, Any] = {
    "description": "A CloudEvent of version 0.3.",
    "type": "object",
    "properties": {
        **_ATTRIBUTES,
        "specversion": {"const": "0.3"},
        "datacontentencoding": {
            "type": ["string", "null"],
            "pattern": "^[Bb][Aa][Ss][Ee]64" + _END,
        },
        "schemaurl": _OPTIONAL_ATTRIBUTE,
    },
    "propertyNames": {"pattern": "^[a-z][a-z0-9]*" + _END},
    "additionalProperties": True,
    "required": _REQUIRED_ATTRIBUTES,
}

EVENT_SCHEMA_1_0: dict[str, Any] = {
    "description": "A CloudEvent of version 1.0.",
    "type": "object",
    "properties": {
        **_ATTRIBUTES,
        "specversion": {"const": "1.0"},
        "dataschema": _OPTIONAL_ATTRIBUTE,
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
        "properties": {"data": {}, "data_base64": {"type": "string"}},
        "additionalProperties": True,
    },
}
