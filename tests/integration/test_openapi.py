"""The description of the API is a sound one, and says what the code does."""

import importlib.util
import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from schemathesis.specs.openapi.definitions import OPENAPI_31

from pacifica.notifications.events import EVENT_SCHEMA_0_3, EVENT_SCHEMA_1_0
from pacifica.notifications.rest.openapi import description
from pacifica.notifications.rest.pull import (
    ACKNOWLEDGE_SCHEMA,
    PULL_SCHEMA,
    RELEASE_SCHEMA,
    RENEW_SCHEMA,
)
from pacifica.notifications.rest.root import Root
from pacifica.notifications.settings import Settings
from pacifica.notifications.subscriptions import (
    REQUIRED_FIELDS,
    SUBSCRIPTION_SCHEMA,
    SUBSCRIPTION_VERSION,
)
from tests.integration.webservice import Service, assert_error
from tests.support.configured import changed


def described(release: str = "1", **values: Any) -> dict[str, Any]:
    """Return the description of a service with the default settings, but for some values."""
    settings = changed(Settings(), **values)
    max_jsonpath = settings.eventmatch.jsonpath_max_length
    return description(settings.notifications, settings.receive, max_jsonpath, release)


DOCUMENT = described("1.2.3")
OPERATIONS = [
    (path, method)
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
    if method != "parameters"
]


# The statuses that tell when to try again, where they are not those of most paths.
_NEEDED: dict[str, set[str]] = {
    "/openapi.json": set(),
    "/receive": {"503"},
    "/livez": set(),
    "/readyz": {"503"},
    "/metrics": set(),
    "/mail/confirm": {"503"},
    "/mail/unsubscribe": {"503"},
}


def operation(path: str, method: str, document: dict[str, Any] = DOCUMENT) -> dict[str, Any]:
    return document["paths"][path][method]


def resolved(reference: str) -> Any:
    """Return what a reference within the document leads to; raises KeyError."""
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/")]
    return found


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Give every object within a value."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, dict | list):
            yield from nodes(child)


def check(schema: dict[str, Any], value: Any) -> None:
    """Raise ValidationError where a value does not keep a schema of the document."""
    whole = {**schema, "components": DOCUMENT["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def test_the_description_keeps_the_schema_of_openapi_3_1() -> None:
    Draft202012Validator(OPENAPI_31).validate(json.loads(json.dumps(DOCUMENT)))


def test_the_schemas_are_json_schema_2020_12() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_resource_is_described() -> None:
    resources = {name for name, value in vars(Root()).items() if getattr(value, "exposed", False)}
    paths = {f"/{name.replace('_json', '.json')}" for name in resources - {"expressions", "mail"}}
    assert {*paths, "/expressions/test"} <= DOCUMENT["paths"].keys()
    assert len(paths) >= 6


def test_every_reference_leads_somewhere() -> None:
    references = [node["$ref"] for node in nodes(DOCUMENT) if "$ref" in node]
    assert len(references) > 50
    for reference in references:
        assert isinstance(resolved(reference), dict)
    links = [link["operationId"] for node in nodes(DOCUMENT) for link in _links(node)]
    names = [operation(*each)["operationId"] for each in OPERATIONS]
    assert set(links) <= set(names)
    assert len(names) == len(set(names))


def _links(node: dict[str, Any]) -> list[dict[str, str]]:
    return list(node["links"].values()) if isinstance(node.get("links"), dict) else []


def test_what_is_described_is_what_the_code_checks_by() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert (schemas["Event10"], schemas["Event03"]) == (EVENT_SCHEMA_1_0, EVENT_SCHEMA_0_3)
    for name in ("NewSubscription", "SubscriptionChanges"):
        for field, rule in SUBSCRIPTION_SCHEMA["properties"].items():
            if name == "NewSubscription" and field in ("disabled", "error"):
                continue
            assert rule.items() <= schemas[name]["properties"][field].items()


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("Fetch", PULL_SCHEMA),
        ("Acknowledge", ACKNOWLEDGE_SCHEMA),
        ("Release", RELEASE_SCHEMA),
        ("Renew", RENEW_SCHEMA),
    ],
)
def test_bodies_of_pull_are_described_as_they_are_checked(
    name: str, schema: dict[str, Any]
) -> None:
    assert rules(DOCUMENT["components"]["schemas"][name]) == rules(schema)


def rules(schema: Any) -> Any:
    """Return a schema without its texts, and without those of each lock, which code checks."""
    if isinstance(schema, dict):
        texts = ("description", "items")
        return {key: rules(value) for key, value in schema.items() if key not in texts}
    return schema


def test_what_is_required_and_fixed_is_what_the_code_requires() -> None:
    described = DOCUMENT["components"]["schemas"]["NewSubscription"]
    assert described["required"] == list(REQUIRED_FIELDS)
    assert described["properties"]["version"] == {"const": SUBSCRIPTION_VERSION}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_an_example_keeps_its_schema(path: str, method: str) -> None:
    described = operation(path, method)
    contents = [*described.get("requestBody", {}).get("content", {}).values()]
    for answer in described["responses"].values():
        whole = resolved(answer["$ref"]) if "$ref" in answer else answer
        contents += whole.get("content", {}).values()
    for content in contents:
        if "example" in content and "schema" in content:
            check(content["schema"], content["example"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"specversion": "1.0", "cloudEventsVersion": "0.1", "id": "1", "source": "s", "type": "t"},
        {"cloudEventsVersion": "0.1", "source": "s", "eventType": "t"},
        {"specversion": "2.0"},
        [],
    ],
    ids=str,
)
def test_what_is_no_event_does_not_keep_the_schema_of_one(wrong: Any) -> None:
    with pytest.raises(ValidationError):
        check(DOCUMENT["components"]["schemas"]["EventOrObject"], wrong)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_that_need_a_header_tell_of_it(path: str, method: str) -> None:
    answers = operation(path, method)["responses"]
    needed = {"429": "Retry-After", "503": "Retry-After"}
    expected = _NEEDED.get(path, {"429", "503"})
    assert answers.keys() & needed.keys() == expected
    for status in answers.keys() & needed.keys():
        answer = answers[status]
        whole = resolved(answer["$ref"]) if "$ref" in answer else answer
        assert whole["headers"][needed[status]]["required"] is True


def test_heads_have_no_body() -> None:
    for path, method in OPERATIONS:
        if method == "head":
            assert not [node for node in nodes(operation(path, method)) if "content" in node]


def test_the_user_header_is_the_configured_one() -> None:
    document = described(notifications_user_header="Remote-User")
    assert document["components"]["securitySchemes"]["caller"]["name"] == "Remote-User"


@pytest.mark.parametrize(("default_user", "choices"), [("someone", 2), ("", 1)])
def test_the_user_header_is_required_when_there_is_no_default_user(
    default_user: str, choices: int
) -> None:
    document = described(notifications_default_user=default_user)
    security = operation("/eventmatch", "get", document)["security"]
    assert ({"caller": []} in security, len(security)) == (True, choices)


@pytest.mark.parametrize(
    ("values", "security", "status"),
    [
        ({}, [], None),
        ({"receive_token": ("t",)}, [{"bearer": []}], "401"),
        ({"receive_allow_addresses": ("10.0.0.0/8",)}, [], "403"),
        (
            {"receive_token": ("t",), "receive_allow_addresses": ("10.0.0.0/8",)},
            [{"bearer": []}, {}],
            "401",
        ),
    ],
    ids=str,
)
def test_receive_tells_who_may_send(
    values: dict[str, Any], security: list[Any], status: str | None
) -> None:
    receive = operation("/receive", "post", described(**values))
    assert receive["security"] == security
    assert receive["responses"].keys() & {"401", "403"} == ({status} if status else set())
    if status == "401":
        assert "WWW-Authenticate" in receive["responses"]["401"]["headers"]


def test_the_description_is_served_without_a_user_and_tells_the_version(service: Service) -> None:
    answer = service.call("GET", "/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["info"]["version"] == version("pacifica-notifications")
    assert answer.json()["paths"].keys() == DOCUMENT["paths"].keys()
    head = service.call("HEAD", "/openapi.json")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(answer.content))


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_the_state_of_a_service_is_as_described(service: Service, path: str) -> None:
    answer = service.call("GET", path)
    (described,) = operation(path, "get")["responses"][str(answer.status_code)]["content"].items()
    assert answer.headers["Content-Type"].partition(";")[0] == described[0]
    check(described[1]["schema"], answer.text if path == "/metrics" else answer.json())


@pytest.mark.parametrize("path", ["/openapi_json", "/openapi-json", "/openapi.json/more"])
def test_a_path_that_only_looks_like_the_description_is_404(service: Service, path: str) -> None:
    assert_error(service.call("GET", path), 404)


def test_the_description_takes_no_query_and_no_other_method(service: Service) -> None:
    assert_error(service.call("GET", "/openapi.json?a=b"), 400)
    answer = service.call("POST", "/openapi.json", body={})
    assert_error(answer, 405)
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_allow_names_the_methods_that_are_described(service: Service, path: str) -> None:
    answer = service.call("PATCH", path.replace("{uuid}", "466725b0cbe145cdb034c3209aa4b6e0"), "me")
    assert_error(answer, 405)
    described = {each.upper() for each in DOCUMENT["paths"][path] if each != "parameters"}
    assert set(answer.headers["Allow"].split(", ")) == described


@pytest.fixture
def page() -> list[str]:
    """Return the lines of the documentation's page, whose module is not on the import path."""
    pytest.importorskip("sphinx")
    path = Path(__file__).parents[2] / "docs" / "_ext" / "openapi_description.py"
    spec = importlib.util.spec_from_file_location("openapi_description", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.page(DOCUMENT)


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_page_has_every_operation_with_its_answers(
    page: list[str], path: str, method: str
) -> None:
    title = f"{'GET' if method == 'head' else method.upper()} {path}"
    start = page.index(title)
    section = "\n".join(page[start : page.index("Objects")])
    for answer in operation(path, method)["responses"].values():
        whole = resolved(answer["$ref"]) if "$ref" in answer else answer
        assert whole["description"] in "\n".join(page)
    assert operation(path, "get" if method == "head" else method)["summary"] in section


def test_the_page_has_every_object(page: list[str]) -> None:
    objects = page[page.index("Objects") :]
    assert set(DOCUMENT["components"]["schemas"]) <= set(objects)
