"""`/expressions/test`: whether an event matches a JSONPath, and why."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.webservice import Service, assert_error

EVENT = json.loads((Path(__file__).parents[1] / "captures" / "ingest.json").read_text())
FILES = '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "{}")]'


def tried(service: Service, jsonpath: str, event: Any = EVENT) -> dict[str, Any]:
    body = {"jsonpath": jsonpath, "event": event}
    response = service.call("POST", "/expressions/test", "alice", body)
    assert response.status_code == 200, response.text
    return response.json()


def test_answer_has_what_was_found_and_the_work_that_it_took(service: Service) -> None:
    answer = tried(service, FILES.format("text/plain"))
    assert answer["matches"] is True
    assert (answer["result"], answer["indexed"], answer["is_complete"]) == ("match", True, True)
    assert 0 < answer["spent"] < answer["budget"]
    assert answer["count"] == 1
    first = answer["found"][0]
    assert first["path"] == '$["data"][6]'
    assert json.loads(first["value"]) == EVENT["data"][6]


def test_answer_counts_what_each_condition_lets_through_and_hints(service: Service) -> None:
    answer = tried(service, FILES.format("text/plan"))
    assert answer["matches"] is False
    (whole,) = answer["steps"][-1]["conditions"]
    assert [(part["tested"], part["held"]) for part in whole["parts"]] == [(9, 2), (2, 0)]
    assert whole["parts"][1]["hint"] == 'the nearest value is the text "text/plain"'


def test_found_value_that_is_long_is_cut(service: Service) -> None:
    answer = tried(service, "$.data", {**EVENT, "data": ["x" * 2000]})
    (found,) = answer["found"]
    assert found == {"path": '$["data"]', "value": '["' + "x" * 998, "truncated": True}


def test_jsonpath_that_takes_too_long_is_over_budget(service: Service) -> None:
    answer = tried(service, "$..[?($..[?($..[?($..[?(@ = 7)])])])]")
    assert (answer["result"], answer["matches"]) == ("over budget", False)
    assert answer["indexed"] is False


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"jsonpath": "$.data[", "event": EVENT}, "jsonpath"),
        ({"jsonpath": "$.data"}, "event"),
        ({"event": EVENT}, "jsonpath"),
        ({"jsonpath": 1, "event": EVENT}, "jsonpath"),
        ({"jsonpath": "$", "event": []}, "event"),
        ({"jsonpath": "$", "event": {"specversion": "1.0"}}, "id"),
        ([], "body"),
    ],
    ids=["grammar", "no event", "no jsonpath", "number", "array", "incomplete", "no object"],
)
def test_body_that_is_wrong_is_refused_with_its_field(
    service: Service, body: Any, field: str
) -> None:
    response = service.call("POST", "/expressions/test", "alice", body)
    assert_error(response, 400)
    assert field in [each["field"] for each in response.json()["fields"]]


def test_only_post_is_allowed_and_only_here(service: Service) -> None:
    assert service.call("GET", "/expressions/test", "alice").status_code == 405
    assert service.call("POST", "/expressions", "alice", {}).status_code == 404
    assert service.call("POST", "/expressions/test/more", "alice", {}).status_code == 404
