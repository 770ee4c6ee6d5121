"""Ready expressions match the events that they are for."""

import json
from pathlib import Path

import pytest

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.matching import TraceResult, is_indexed, trace_jsonpath
from pacifica.notifications.ui.recipes import RECIPES

CAPTURES = Path(__file__).parents[2] / "captures"


@pytest.mark.parametrize(
    ("key", "form", "capture", "other"),
    [
        ("files", {"kind": "text/plain"}, "ingest", {"kind": "image/png"}),
        (
            "files",
            {"kind": "text/plain", "project": "1236é"},
            "ingest",
            {"kind": "text/plain", "project": "1"},
        ),
        ("instrument", {"instrument": " 54 "}, "ingest", {"instrument": "5"}),
        ("key", {"key": "Tag"}, "ingest", {"key": "Tags"}),
        ("key", {"key": "Tag", "value": "Namé"}, "ingest", {"key": "Taggy", "value": "Namé"}),
        ("doi", {}, "doientry", None),
    ],
)
def test_recipe_matches_what_it_is_for_and_not_others(
    key: str, form: dict[str, str], capture: str, other: dict[str, str] | None
) -> None:
    event = json.loads((CAPTURES / f"{capture}.json").read_text())
    expression = RECIPES[key].expression(form)
    assert trace_jsonpath(expression, event).result is TraceResult.MATCH
    assert is_indexed(expression) == ("project" not in form)
    if other is not None:
        wrong = RECIPES[key].expression(other)
        assert trace_jsonpath(wrong, event).result is TraceResult.NO_MATCH


@pytest.mark.parametrize(
    ("key", "form", "field"),
    [
        ("files", {}, "kind"),
        ("files", {"kind": 'a"b'}, "kind"),
        ("instrument", {"instrument": "five"}, "instrument"),
        ("instrument", {"instrument": "9" * 30}, "instrument"),
        ("key", {"key": "a\\b"}, "key"),
    ],
)
def test_field_that_is_wrong_is_named(key: str, form: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        RECIPES[key].expression(form)
    assert [name for name, _ in refused.value.problems] == [field]
