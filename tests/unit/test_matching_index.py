"""The index finds the enabled subscriptions that an event matches."""

import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonpath2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacifica.notifications.jsonpath import find, parse
from pacifica.notifications.matching import MatchFailure, MatchResult, SubscriptionIndex

CAPTURES = Path(__file__).parents[1] / "captures"
EVENT = {"data": [1, 2, 3]}
RECORD = {"a": 1, "b": 0, "c": 0}
FIRST, SECOND, THIRD, FOURTH = (UUID(int=number) for number in range(1, 5))


def index_of(*jsonpaths: str, **limits: int) -> SubscriptionIndex:
    """Return an index of subscriptions whose UUIDs count from 1."""
    index = SubscriptionIndex(**limits)
    for number, jsonpath in enumerate(jsonpaths, start=1):
        assert index.upsert(UUID(int=number), jsonpath) is None
    return index


class CountingEvent(dict[str, Any]):
    """An event that counts the lookups of its members, of which an evaluation makes one."""

    lookups = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.lookups += 1
        return super().get(key, default)


def test_match_finds_nothing_when_the_index_is_empty() -> None:
    assert SubscriptionIndex().match(EVENT) == MatchResult((), ())


def test_match_finds_the_subscriptions_whose_jsonpath_finds_something() -> None:
    index = index_of("data", "$.none", "$.data[2]", "$.data[3]")
    result = index.match(EVENT)
    assert (set(result.matched), result.failures) == ({FIRST, THIRD}, ())


def test_match_finds_all_subscriptions_when_they_share_a_jsonpath() -> None:
    index = index_of("data", "none", "data")
    assert set(index.match(EVENT).matched) == {FIRST, THIRD}


def test_match_finds_by_type_when_events_are_pacificas() -> None:
    index = index_of(
        '$[?(@.eventType = "org.pacifica.metadata.ingest")]',
        '$[?(@.eventType = "org.pacifica.metadata.orm")]',
        '$.data[*][?(@.destinationTable = "Files" and @.size < 100)]',
    )
    event = json.loads((CAPTURES / "ingest.json").read_text())
    assert set(index.match(event).matched) == {FIRST, THIRD}


def test_match_evaluates_a_jsonpath_once_when_subscriptions_share_it() -> None:
    event = CountingEvent(EVENT)
    index_of("data", "none", "data", "data").match(event)
    assert event.lookups == 2


def test_match_finds_a_subscription_once_when_it_was_added_twice() -> None:
    index = index_of("data")
    index.upsert(FIRST, "data")
    assert index.match(EVENT).matched == (FIRST,)


def test_upsert_replaces_the_jsonpath_when_the_subscription_exists() -> None:
    index = index_of("data", "data")
    index.upsert(FIRST, "none")
    assert index.match(EVENT).matched == (SECOND,)


def test_upsert_returns_a_failure_when_the_jsonpath_does_not_parse() -> None:
    failure = SubscriptionIndex().upsert(FIRST, "$[")
    assert failure is not None
    assert failure.uuid == FIRST
    assert failure.error.startswith("at character 3: ")


def test_upsert_adds_nothing_when_the_jsonpath_does_not_parse() -> None:
    index = index_of("data")
    index.upsert(SECOND, "$[")
    assert index.match(EVENT) == MatchResult((FIRST,), ())


def test_upsert_removes_the_former_jsonpath_when_the_new_one_does_not_parse() -> None:
    index = index_of("data")
    index.upsert(FIRST, "$[")
    assert index.match(EVENT) == MatchResult((), ())


def test_upsert_returns_a_failure_when_the_jsonpath_is_too_long() -> None:
    failure = SubscriptionIndex(max_length=5).upsert(FIRST, "$.data")
    assert failure == MatchFailure(FIRST, "a JSONPath has at most 5 characters, not 6")


def test_remove_removes_only_the_given_subscription() -> None:
    index = index_of("data", "data")
    index.remove(FIRST)
    assert index.match(EVENT).matched == (SECOND,)


def test_remove_does_nothing_when_the_subscription_does_not_exist() -> None:
    index = index_of("data")
    index.remove(SECOND)
    assert index.match(EVENT).matched == (FIRST,)


def test_match_does_not_evaluate_a_jsonpath_when_its_last_subscription_is_removed() -> None:
    index = index_of("data", "data")
    index.remove(FIRST)
    index.remove(SECOND)
    event = CountingEvent(EVENT)
    index.match(event)
    assert event.lookups == 0


def test_match_does_not_evaluate_a_jsonpath_when_its_last_subscription_changed_it() -> None:
    index = index_of("data")
    index.upsert(FIRST, "none")
    event = CountingEvent(EVENT)
    index.match(event)
    assert event.lookups == 1


def test_match_reads_an_event_once_when_subscriptions_have_the_same_shape() -> None:
    event = CountingEvent({"type": "b", "data": []})
    index = index_of(*[f'$[?(@.type = "{name}")]' for name in "abcdefgh"])
    assert index.match(event).matched == (SECOND,)
    assert event.lookups == 1


def test_match_reads_an_event_once_when_the_same_shape_is_spelled_differently() -> None:
    event = CountingEvent({"type": "b", "data": []})
    index = index_of('$[?(@.type = "a")]', '[?(@["type"]="b")]', '$ [ ?((@.type = "c"))]')
    assert index.match(event).matched == (SECOND,)
    assert event.lookups == 1


def test_match_tells_constants_apart_by_type_as_jsonpath2_does() -> None:
    index = index_of("$.a[?(@ = 1)]", '$.a[?(@ = "1")]', "$.a[?(@ = true)]", "$.a[?(@ = 1.0)]")
    assert set(index.match({"a": 1}).matched) == {FIRST, THIRD, FOURTH}
    assert set(index.match({"a": "1"}).matched) == {SECOND}
    assert set(index.match({"a": True}).matched) == {FIRST, THIRD, FOURTH}
    assert set(index.match({"a": [1]}).matched) == set()


def test_match_finds_all_when_candidates_are_filtered_by_required_keys() -> None:
    index = index_of(
        *[f"$.data.key{number}" for number in range(100)],
        "$[?(@.data.key7 = 1)]",
        "$[?(not @.data.none = 1)]",
        "$[?(@.data or @.none)]",
        "$[?(@.data and @.none)]",
        "$..[::0].none",
    )
    result = index.match({"data": {"key7": 1, "inner": [{"key8": 1}]}})
    assert {uuid.int for uuid in result.matched} == {8, 101, 102, 103}
    assert {failure.uuid.int for failure in result.failures} == {105}


def test_match_reports_a_failure_for_each_subscription_when_their_jsonpath_raises() -> None:
    index = index_of("data", "$.data[::0]", "$.data[0]", "$.data[::0]")
    result = index.match(EVENT)
    error = "the step of a slice is 0"
    assert set(result.matched) == {FIRST, THIRD}
    assert set(result.failures) == {
        MatchFailure(SECOND, error),
        MatchFailure(FOURTH, error),
    }


def test_match_leaves_unfinished_only_the_jsonpath_that_exceeds_its_budget() -> None:
    index = index_of("$..*..*..*.none", "data", "$..*..*..*.none", "$.data[2]", budget=20)
    result = index.match({"data": [[0] * 10] * 10})
    assert set(result.matched) == {SECOND, FOURTH}
    assert (result.failures, result.unfinished) == ((), {FIRST, THIRD})


def test_match_leaves_unfinished_only_those_of_a_shape_not_found_within_the_budget() -> None:
    index = index_of("$.data[*][?(@ = 1)]", "$.data[*][?(@ = 90)]", "data", budget=20)
    result = index.match({"data": list(range(100))})
    assert set(result.matched) == {FIRST, THIRD}
    assert (result.failures, result.unfinished) == ((), {SECOND})


def test_match_leaves_a_shape_unfinished_when_its_path_has_several_wildcards() -> None:
    index = index_of("$..[?(@ = 1)]", "$..[?(@ = 90)]", "$.data.*.*[?(@ = 90)]", budget=20)
    result = index.match({"data": [[1], list(range(100))]})
    assert set(result.matched) == {FIRST}
    assert result.unfinished == {SECOND, THIRD}


@pytest.mark.parametrize(
    ("text", "event", "other"),
    [
        ("$[?(@.a >= 1)]", {"a": 1}, {"a": float("nan")}),
        ("$[?(@.a <= 1)]", {"a": True}, {"a": float("nan")}),
        ("$[?(@.a < 5 and @.a < 9)]", {"a": 1}, {"a": 7}),
        ("$[?(@.a > 5 and @.a > 1)]", {"a": 7}, {"a": 2}),
        ("$[?(@.a > 1 and @.b < 5)]", {"a": 2, "b": 3}, {"a": 2, "b": 9}),
        ("$[*][?(@.a > 1 and @.a < 3)]", [{"a": 0}, {"a": 2}], [{"a": 0}, {"a": 4}]),
        ("$[*][?(@.a > 1)].b[?(@ = 1)]", [{"a": 2, "b": 1}], [{"a": 2}, {"a": 0, "b": 1}]),
        ('$[?(@.a > "1")]', {}, {"a": 2}),
        ("$[?(not @.a != 1)]", {}, {"a": 2}),
        ("$[?(not @.a > 1)]", {"a": "x"}, {"a": 2}),
        ("$.a[?(@.b = 1)].c", {"a": {"b": 1, "c": None}}, {"a": {"b": 1}, "c": 1}),
        ("$[?(@.a = 1 and @.b)]", {"a": 1, "b": 0}, {"a": 1, "c": 0}),
        ("$[?(@.a = 1 and @.c)]", {"a": 1, "c": 0}, {"a": 1, "b": 0}),
        ("$[*][?(@.a = 1 and @.b and @.c > 3)]", [RECORD, RECORD | {"c": 9}], [RECORD]),
        ("$[*][?(@.a = 1 and @.b)].c[?(@ = 9)]", [RECORD, RECORD | {"c": 9}], [RECORD]),
        ("$[?(@.a = 1)][?(@.b = 2)]", {"a": 1, "b": 2}, {"a": 2, "b": 1}),
    ],
)
def test_match_agrees_with_jsonpath2_on_comparisons(text: str, event: Any, other: Any) -> None:
    index = index_of("$[?(@.a = 1 and @.b)]", "$[?(@.a = 1 and @.c)]", "$[?(@.a >= 3)]", text)
    for each in (event, other):
        found = FOURTH in index.match(each).matched
        assert found == any(True for _ in jsonpath2.match(text, each))


def test_match_treats_arrays_and_objects_as_unequal_to_any_constant() -> None:
    index = index_of("$[?(@.a != 1)]", "$[?(not @.a = 1)]", "$[?(@.a = 1)]", "$[?(@.a < 1)]")
    assert set(index.match({"a": []}).matched) == {FIRST, SECOND}
    assert set(index.match({"a": {"a": 1}}).matched) == {FIRST, SECOND}
    assert set(index.match({"b": 1}).matched) == {SECOND}


def test_match_finishes_those_that_an_earlier_level_excludes() -> None:
    texts = [f'$[?(@.type = "{name}")].data[*][?(@ = 90)]' for name in "abc"]
    result = index_of(*texts, budget=20).match({"type": "b", "data": list(range(100))})
    assert (result.matched, result.unfinished) == ((), {SECOND})


def test_match_finds_all_of_a_shape_when_each_matches_another_part_of_a_large_event() -> None:
    batches = [
        {"name": name, "records": list(range(name, name + 90))} for name in range(0, 900, 90)
    ]
    texts = [
        f"$.batches[*][?(@.name = {name})].records[*][?(@ = {name + 80})]"
        for name in range(0, 900, 90)
    ]
    result = index_of(*texts, budget=200).match({"batches": batches})
    assert (len(result.matched), result.unfinished) == (10, frozenset())


def test_match_evaluates_conditions_only_on_records_that_have_the_constants() -> None:
    rows = [{"kind": "large", "inner": [list(range(50))] * 5}, {"kind": "small", "inner": [1]}]
    texts = [f'$[*][?(@.kind = "{kind}" and @.inner..none)]' for kind in ("large", "small", "no")]
    result = index_of(*texts, budget=100).match(rows)
    assert (result.matched, result.unfinished) == ((), {FIRST})


def test_match_finds_a_subscription_when_one_of_its_alternatives_exceeds_the_budget() -> None:
    index = index_of('$[?(@.data[*] = 1000 or @.type = "a")]', budget=20)
    assert index.match({"data": list(range(100)), "type": "a"}) == MatchResult((FIRST,), ())


def test_match_reports_a_failure_when_a_shape_reaches_the_recursion_limit() -> None:
    index = index_of(f"${'[*]' * 90}[?(@ = 1)]", "$[?(@ = 1)]")
    event: Any = 1
    for _ in range(90):
        event = [event]

    def from_depth(levels: int) -> MatchResult:
        return from_depth(levels - 1) if levels else index.match(event)

    assert from_depth(0).matched == (FIRST,)
    free = sys.getrecursionlimit() - len(inspect.stack())
    error = "the JSONPath is nested too deep to be evaluated"
    assert from_depth(free - 60).failures == (MatchFailure(FIRST, error),)


def test_match_gives_each_jsonpath_the_whole_budget() -> None:
    index = index_of(*[f"$.data[{number}, *].none" for number in range(4)], budget=15)
    assert index.match(EVENT) == MatchResult((), ())


def test_match_has_the_whole_budget_again_when_the_last_event_exceeded_it() -> None:
    index = index_of("$.data[*].a", budget=20)
    assert index.match({"data": [0] * 100}).unfinished
    assert index.match({"data": [{"a": 1}]}) == MatchResult((FIRST,), ())


def test_match_searches_what_takes_least_first_and_leaves_the_rest_unfinished() -> None:
    slow = [f"$..[?($..[?(@ = {number})])]" for number in range(20)]
    index = index_of("$.data.first", *slow, "$.data[0]")
    event = {"data": [[each] for each in range(1000, 1020)]}
    for _ in range(5):  # the first times tell how long each takes
        index.match(event)
    result = index.match(event, max_seconds=0.0)
    assert {uuid.int for uuid in result.matched} == {22}
    assert {uuid.int for uuid in result.unfinished} == set(range(2, 22))
    assert index.match(event).unfinished == frozenset()


def test_match_lets_no_jsonpath_alone_take_more_steps_than_fit_in_the_time() -> None:
    event = {"data": [0] * 30_000}
    late, in_time = index_of("$..[?(@.a = @.b)]"), index_of("$..[?(@.a = @.b)]")
    assert late.match(event, 30_000, max_seconds=0.001).unfinished == {FIRST}
    assert in_time.match(event, 30_000, max_seconds=1.0) == MatchResult((), ())


def test_match_searches_a_large_group_whatever_the_time() -> None:
    index = index_of(*[f"$.data[*][?(@ = {number})]" for number in range(500)])
    result = index.match({"data": list(range(500))}, max_seconds=0.0)
    assert (len(result.matched), result.unfinished) == (500, frozenset())


def test_match_leaves_unfinished_what_compares_too_many_constants_with_too_many_records() -> None:
    texts = [f"$[*][?(@.a > {number} and @.b > {number})]" for number in range(40)]
    records = [{"a": number, "b": 40 - number} for number in range(40)]
    assert len(index_of(*texts, budget=40 * 40).match(records).matched) == 20
    result = index_of(*texts, budget=40 * 40 - 1).match(records)
    assert (result.matched, len(result.unfinished)) == ((), 40)


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
def test_match_compares_negated_bounds_with_sorted_numbers(operator: str) -> None:
    texts = [f"$[*][?(not (@.a {operator} {number}))]" for number in range(200)]
    records = [{"a": number} for number in range(100, 300)]
    result = index_of(*texts, budget=3000).match(records)
    assert result.unfinished == frozenset()
    found = {uuid.int - 1 for uuid in result.matched}
    assert found == {
        number
        for number, text in enumerate(texts)
        if any(not eval(f"{each['a']} {operator} {number}") for each in records)  # noqa: S307
    }


def test_postponed_subscription_is_unfinished_until_it_is_added() -> None:
    index = index_of("$.data", "$[?(@.data = 1)]")
    assert index.postpone(FIRST, "$.data[0]") is None
    assert index.postpone(THIRD, "$[?(@.data = 2)]") is None  # its template is known
    assert index.postpone(FOURTH, "$[") is None
    result = index.match({"data": 2})
    assert (result.matched, result.unfinished) == ((THIRD,), {FIRST, FOURTH})
    assert index.add_postponed(0.0) == []
    assert [failure.uuid for failure in index.add_postponed(60.0)] == [FOURTH]
    assert index.match({"data": [2]}) == MatchResult((FIRST,), ())


def test_postponed_subscription_is_gone_when_it_is_removed() -> None:
    index = SubscriptionIndex()
    index.postpone(FIRST, "$.data")
    index.remove(FIRST)
    assert index.match(EVENT) == MatchResult((), ())
    assert index.add_postponed(60.0) == []
    assert index.match(EVENT) == MatchResult((), ())


def test_match_returns_an_immutable_result() -> None:
    result = index_of("$.data[::0]").match(EVENT)
    with pytest.raises(FrozenInstanceError):
        result.matched = (FIRST,)  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        result.failures[0].uuid = SECOND  # type: ignore[misc]


JSONPATHS = [
    "data",
    "$.data",
    "$.data[0]",
    "$.data[5]",
    "$.none",
    "$.data[::0]",
    "$[",
    "$[?(@.data[0] = 1)]",
    "$[?(@.data[0] = 2)]",
    "$[?(@.data[0] = true)]",
    "$[?(@.data[0] = 1 and @.data[1] = 2)]",
    "$[?(@.data[0] = 1 or @.data[1] = 3)]",
    "$[?(@.data[0] = 3 or @.data[1] = 1)]",
    "$[?(@.data[0] = 1 or @.data[0] = 1)]",
    "$[?(@.data[1] > 1 and @.data[1] < 3)]",
    "$[?(@.data[1] > 2 and @.data[1] < 3)]",
    "$[?(@.data[*] = 3)].data[*][?(@ = 2)]",
    "$[?(@.data[0] = )]",
]
changes = st.lists(
    st.tuples(st.integers(1, 4).map(lambda number: UUID(int=number)), st.sampled_from(JSONPATHS))
    | st.integers(1, 4).map(lambda number: UUID(int=number)),
    max_size=30,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=changes)
def test_index_has_the_last_jsonpath_of_each_subscription_after_any_changes(
    changes: list[Any],
) -> None:
    index = SubscriptionIndex()
    left: dict[UUID, str] = {}
    for change in changes:
        if isinstance(change, UUID):
            index.remove(change)
            left.pop(change, None)
            continue
        uuid, jsonpath = change
        failure = index.upsert(uuid, jsonpath)
        assert (failure is not None) == (jsonpath in ("$[", "$[?(@.data[0] = )]"))
        left.pop(uuid, None)
        if failure is None:
            left[uuid] = jsonpath
    raising = {uuid for uuid, jsonpath in left.items() if jsonpath == "$.data[::0]"}
    found = {
        uuid
        for uuid, jsonpath in left.items()
        if uuid not in raising and find(parse(jsonpath), EVENT)
    }
    result = index.match(EVENT)
    assert (len(result.matched), set(result.matched)) == (len(found), found)
    assert {failure.uuid for failure in result.failures} == raising


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=changes)
def test_index_is_empty_when_all_subscriptions_are_removed(changes: list[Any]) -> None:
    index = SubscriptionIndex()
    for change in changes:
        if not isinstance(change, UUID):
            index.upsert(*change)
    for number in range(1, 5):
        index.remove(UUID(int=number))
    assert not any(dictionaries_in(index))


def dictionaries_in(holder: Any) -> Iterator[dict[Any, Any]]:
    """Yield all dictionaries of an object and of the objects inside it."""
    for part in vars(holder).values():
        if isinstance(part, dict):
            yield part
        elif type(part).__module__.startswith("pacifica."):
            yield from dictionaries_in(part)
