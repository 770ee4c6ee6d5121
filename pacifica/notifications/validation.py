"""A JSON Schema validator whose errors name the field and the rule, and never repeat a value."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from pacifica.notifications.errors import InvalidInput


class Schema:
    """A JSON schema that values can be checked against."""

    def __init__(self, schema: dict[str, Any]) -> None:
        Draft202012Validator.check_schema(schema)
        self._validator = Draft202012Validator(schema)

    def check(self, value: Any) -> None:
        """Raise InvalidInput with each invalid field and the rule that it breaks."""
        problems = self.problems(value)
        if problems:
            raise InvalidInput(*problems)

    def problems(self, value: Any) -> tuple[tuple[str, str], ...]:
        """Return each invalid field and the rule that it breaks."""
        return tuple(dict.fromkeys(self._problems(value)))

    def _problems(self, value: Any) -> Iterator[tuple[str, str]]:
        for error in self._validator.iter_errors(value):
            path = [str(part) for part in error.absolute_path]
            if error.validator == "required":
                for name in error.validator_value:
                    if name not in error.instance:
                        yield ".".join([*path, name]), "is required"
            else:
                yield ".".join(path) or "body", _reason(error)


def _reason(error: ValidationError) -> str:
    """Describe a broken rule without the value, which may be secret or long."""
    rule, expected = error.validator, error.validator_value
    if rule == "type":
        return f"must be {' or '.join(expected) if isinstance(expected, list) else expected}"
    if rule == "const":
        return f"must be {expected!r}"
    if rule == "enum":
        values = ("null" if each is None else repr(each) for each in expected)
        return f"must be one of {', '.join(values)}"
    if rule == "maxLength":
        return f"must not be longer than {expected} characters"
    if rule in ("minLength", "minItems"):
        return "must not be empty"
    if rule == "maxItems":
        return f"must not have more than {expected} items"
    if rule in ("minimum", "maximum") and {"minimum", "maximum"} <= error.schema.keys():
        return f"must be from {error.schema['minimum']} to {error.schema['maximum']}"
    if rule == "uniqueItems":
        return "must not have duplicates"
    if rule == "pattern" and "description" in error.schema:
        return f"must be {error.schema['description']}"
    if rule == "additionalProperties":
        return f"may only have {', '.join(sorted(error.schema['properties']))}"
    if rule == "dependentRequired":
        return "needs a type"
    return "has characters that are not allowed here"
