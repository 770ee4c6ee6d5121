"""A JSON Schema validator that names the field and the rule, and never repeats a value."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from pacifica.notifications.errors import InvalidInput


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
