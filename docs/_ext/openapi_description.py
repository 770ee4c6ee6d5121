"""The directive `openapi`: the API's description as pages show it, from the one that is served."""

import json
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from pacifica.notifications.rest.openapi import description
from pacifica.notifications.settings import Settings

_RESPONSES = "#/components/responses/"
_SCHEMAS = "#/components/schemas/"
# What the web server may answer to any request is told once, and not for each operation.
_OF_ANY = ("408", "414", "501", "505")


def by_default() -> dict[str, Any]:
    """Return the description of a service that has every setting's default."""
    settings = Settings()
    max_jsonpath = settings.eventmatch.jsonpath_max_length
    return description(settings.notifications, settings.receive, max_jsonpath, "")


def page(document: dict[str, Any]) -> list[str]:
    """Return a description as lines of reStructuredText: the operations, then the objects."""
    lines = ["Any request may also be answered by the web server itself:", ""]
    described = document["paths"]["/openapi.json"]["get"]["responses"]
    lines += _answers({status: described[status] for status in _OF_ANY}, document)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method not in ("parameters", "head"):
                lines += _operation(path, method, operation, methods, document)
    lines += _title("Objects", "-")
    for name, schema in document["components"]["schemas"].items():
        lines += [f".. _{_label(name)}:", "", *_title(name, "^"), *_json(schema)]
    return lines


class OpenApiDescription(SphinxDirective):
    """`.. openapi::` gives the sections of the whole API."""

    def run(self) -> list[nodes.Node]:
        """Parse the sections where the directive stands."""
        text = "\n".join(page(by_default()))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive."""
    app.add_directive("openapi", OpenApiDescription)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _operation(
    path: str,
    method: str,
    operation: dict[str, Any],
    methods: dict[str, Any],
    document: dict[str, Any],
) -> Iterator[str]:
    yield from _title(f"{method.upper()} {path}", "-")
    yield from (operation["summary"], "")
    if "description" in operation:
        yield from (operation["description"], "")
    if method == "get" and "head" in methods:
        yield from ("HEAD is answered the same, without the body.", "")
    yield from _asked(operation["security"], document)
    parameters = [*methods.get("parameters", ()), *operation.get("parameters", ())]
    if parameters:
        yield from _table(
            ("Parameter", "Where", "Meaning", "Rule"), "22 10 40 28", map(_parameter, parameters)
        )
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from _body(media_type, content)
    answers = operation["responses"].items()
    own = {status: answer for status, answer in answers if status not in _OF_ANY}
    yield from _answers(own, document)
    for status, done in operation["responses"].items():
        for content in done.get("content", {}).values() if status.startswith("2") else ():
            if "schema" in content and "example" in content:
                saying = f"What is answered with {status}, for example:"
                yield from _example(saying, content["example"])


def _asked(security: list[dict[str, Any]], document: dict[str, Any]) -> Iterator[str]:
    """Say what shows who calls; an empty choice makes it optional."""
    schemes = document["components"]["securitySchemes"]
    for choice in security:
        for name in choice:
            shown = schemes[name].get("name", "Authorization")
            may = " It may be left out: then the default user calls." if {} in security else ""
            yield from (f"Who calls is in the header ``{shown}``.{may}", "")


def _parameter(parameter: dict[str, Any]) -> tuple[str, ...]:
    rule = json.dumps(parameter["schema"])
    return f"``{parameter['name']}``", parameter["in"], parameter["description"], f"``{rule}``"


def _body(media_type: str, content: dict[str, Any]) -> Iterator[str]:
    schema = content["schema"]
    of = ": data, in binary mode" if schema.get("format") == "binary" else f": {_reference(schema)}"
    if "example" in content:
        yield from _example(f"Body of type ``{media_type}``{of}. For example:", content["example"])
    else:
        yield from (f"Body of type ``{media_type}``{of}.", "")


def _answers(answers: dict[str, Any], document: dict[str, Any]) -> Iterator[str]:
    shared = document["components"]["responses"]
    rows = (
        (f"``{status}``", _meaning(shared.get(_shared_name(answer), answer)))
        for status, answer in answers.items()
    )
    yield from _table(("Status", "Meaning"), "10 90", rows)


def _shared_name(answer: dict[str, Any]) -> str:
    return answer.get("$ref", "").removeprefix(_RESPONSES)


def _meaning(answer: dict[str, Any]) -> str:
    headers = "".join(f" Header ``{name}``." for name in answer.get("headers", ()))
    schemas = (content.get("schema") for content in answer.get("content", {}).values())
    bodies = "".join(f" Body: {_reference(schema)}." for schema in schemas if schema)
    return f"{answer['description']}{headers}{bodies}"


def _reference(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return f":ref:`{name} <{_label(name)}>`"
    if schema.get("type") == "array":
        return f"an array of {_reference(schema['items'])}"
    return "an object"


def _label(name: str) -> str:
    return f"api-object-{name.lower()}"


def _title(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _example(saying: str, value: Any) -> list[str]:
    return [saying, "", *_json(value)]


def _json(value: Any) -> list[str]:
    lines = json.dumps(value, indent=2).splitlines()
    return [".. code-block:: json", "", *(f"   {line}" for line in lines), ""]


def _table(head: tuple[str, ...], widths: str, rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", "")
    for row in (head, *rows):
        for number, cell in enumerate(row):
            yield f"   {'*' if number == 0 else ' '} - {cell}"
    yield ""
