"""What a click on a value of an event makes of an expression."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.matching import TraceResult, is_indexed, trace_jsonpath
from pacifica.notifications.ui.clauses import Clause, Filter, filter_for, read, with_value
from pacifica.notifications.ui.event_tree import steps_of, tree_of

CAPTURES = Path(__file__).parents[2] / "captures"
INGEST = json.loads((CAPTURES / "ingest.json").read_text())
ORM = json.loads((CAPTURES / "orm-files.json").read_text())
TEXT_FILES = '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plain")]'


def matches(expression: str, event: Any) -> bool:
    return trace_jsonpath(expression, event).result is TraceResult.MATCH


@pytest.mark.parametrize(
    ("event", "steps", "expression"),
    [
        (INGEST, ["data", 6, "mimetype"], TEXT_FILES),
        (INGEST, ["data", 6, "destinationTable"], '$.data[*][?(@.destinationTable = "Files")]'),
        (
            INGEST,
            ["data", 3, "value"],
            '$.data[*][?(@.destinationTable = "Transactions.instrument" and @.value = 54)]',
        ),
        (
            INGEST,
            ["data", 5, "value"],
            '$.data[*][?(@.destinationTable = "TransactionKeyValue" and @.key = "Taggy" and '
            '@.value = "Blah")]',
        ),
        (INGEST, ["eventType"], '$[?(@.eventType = "org.pacifica.metadata.ingest")]'),
        (ORM, ["data", "method"], '$.data[?(@.method = "insert")]'),
        (
            ORM,
            ["data", "obj_primary_keys", 1, "id"],
            "$.data.obj_primary_keys[*][?(@.id = 20011)]",
        ),
        ({"data": "10.25/x"}, ["data"], '$.data[?(@ = "10.25/x")]'),
        ({"data": ["a", "b"]}, ["data", 1], '$.data[*][?(@ = "b")]'),
        (
            {"data": [{"a b": {"not": None}}]},
            ["data", 0, "a b", "not"],
            '$.data[*][?(@["a b"]["not"] = null)]',
        ),
        ({"data": [{"ok": True}]}, ["data", 0, "ok"], "$.data[*][?(@.ok = true)]"),
    ],
    ids=str,
)
def test_click_writes_an_expression_that_finds_the_value_and_is_indexed(
    event: Any, steps: list[Any], expression: str
) -> None:
    assert with_value("", event, steps) == expression
    assert matches(expression, event)
    assert is_indexed(expression) or "null" in expression


def test_further_click_on_the_same_kind_of_record_adds_a_clause_or_takes_it_back() -> None:
    both = with_value(TEXT_FILES, INGEST, ["data", 6, "name"])
    assert both == TEXT_FILES[:-2] + ' and @.name = "foo.txt")]'
    assert with_value(both, INGEST, ["data", 6, "name"]) == TEXT_FILES
    other = with_value(TEXT_FILES, INGEST, ["data", 7, "mimetype"])
    assert other == TEXT_FILES.replace("text/plain", "application/octet-stream")


def test_click_on_another_kind_of_record_begins_anew() -> None:
    begun = with_value(TEXT_FILES, INGEST, ["data", 3, "value"])
    assert "Files" not in begun
    assert with_value("$..anything[0]", INGEST, ["data", 6, "mimetype"]) == TEXT_FILES


def test_click_that_takes_the_last_clause_leaves_no_expression() -> None:
    kind = '$.data[*][?(@.destinationTable = "Files")]'
    assert with_value(kind, INGEST, ["data", 6, "destinationTable"]) == ""


@pytest.mark.parametrize("value", ['say "hi"', "back\\slash", "line\nbreak", "x" * 301, [], {}])
def test_value_that_no_expression_can_compare_to_is_not_offered(value: Any) -> None:
    event = {"data": [{"a": value}]}
    assert filter_for(event, ["data", 0, "a"]) is None
    assert with_value("$.x", event, ["data", 0, "a"]) == "$.x"


@pytest.mark.parametrize(
    "text", ["$", "data", TEXT_FILES.replace(" and ", " or "), "", "$[?(@.a)]"]
)
def test_expression_of_another_form_is_not_read(text: str) -> None:
    assert read(text) is None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([".a", ".destinationTable", '["b c"]', ".d.e", ""]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.text("ab =()@and").filter(str.isprintable),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_is_written_is_read_again(pairs: list[tuple[str, Any]]) -> None:
    written = Filter("$.data[*]", tuple(Clause(*pair) for pair in pairs))
    assert read(str(written)) == written


def test_tree_has_each_value_with_what_its_click_sends() -> None:
    tree = tree_of(INGEST, read(TEXT_FILES), ['$["data"][6]'])
    files = [record for record in tree.records if record.title == "Files"]
    assert [record.is_found for record in files] == [True, False]
    (mimetype,) = (each for each in files[0].members if each.name == "mimetype")
    assert (mimetype.text, mimetype.is_picked) == ("text/plain", True)
    assert steps_of(mimetype.pick, INGEST) == ["data", 6, "mimetype"]


def test_tree_of_a_large_event_is_bounded() -> None:
    event = {"data": [{str(n): "x" * 1000 for n in range(100)} for _ in range(1000)]}
    tree = tree_of(event, None, [])
    assert (len(tree.records), tree.more) == (200, 800)
    assert all(len(each.members) == 60 and each.has_more for each in tree.records)
    assert len(tree.records[0].members[0].text) == 201


@pytest.mark.parametrize(
    "pick", ["", "7", "[]", '["data", -1]', '["data", true]', '["data", 99]', '["no"]', "[" * 9999]
)
def test_click_that_names_no_value_is_ignored(pick: str) -> None:
    assert steps_of(pick, INGEST) is None
