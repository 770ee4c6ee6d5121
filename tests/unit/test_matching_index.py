"""The index of enabled subscriptions."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacifica.notifications.jsonpath import find, parse
from pacifica.notifications.matching import Entry, Fault, Matches, SubscriptionIndex

CAPTURES = Path(__file__).parents[1] / "captures"
EVENT = {"data": [1, 2, 3]}
FIRST, SECOND, THIRD, FOURTH = (UUID(int=number) for number in range(1, 5))


def index_of(*jsonpaths: str, **limits: int) -> SubscriptionIndex:
    """Return an index of subscriptions whose UUIDs count from 1."""
    index = SubscriptionIndex(**limits)
    for number, jsonpath in enumerate(jsonpaths, start=1):
        assert index.put(Entry(UUID(int=number), jsonpath)) is None
    return index


class CountingEvent(dict[str, Any]):
    """An event that counts how often a member is looked up in it: once for an evaluation."""

    lookups = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.lookups += 1
        return super().get(key, default)


def test_match_finds_nothing_when_the_index_is_empty() -> None:
    assert SubscriptionIndex().match(EVENT) == Matches((), ())


def test_match_finds_the_subscriptions_whose_jsonpath_finds_something() -> None:
    index = index_of("data", "$.none", "$.data[2]", "$.data[3]")
    assert index.match(EVENT) == Matches((FIRST, THIRD), ())


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
    assert index.match(event).matched == (FIRST, THIRD)


def test_match_evaluates_once_when_subscriptions_share_a_jsonpath() -> None:
    event = CountingEvent(EVENT)
    index_of("data", "none", "data", "data").match(event)
    assert event.lookups == 2


def test_match_finds_a_subscription_once_when_it_was_put_twice() -> None:
    index = index_of("data")
    index.put(Entry(FIRST, "data"))
    assert (len(index), index.match(EVENT).matched) == (1, (FIRST,))


def test_put_replaces_the_jsonpath_when_the_subscription_is_there() -> None:
    index = index_of("data", "data")
    index.put(Entry(FIRST, "none"))
    assert index.match(EVENT).matched == (SECOND,)
    assert len(index) == 2


def test_put_returns_a_fault_when_the_jsonpath_does_not_parse() -> None:
    fault = SubscriptionIndex().put(Entry(FIRST, "$["))
    assert fault is not None
    assert (fault.uuid, fault.exhausted) == (FIRST, False)
    assert fault.error.startswith("at character 3: ")


def test_put_keeps_nothing_when_the_jsonpath_does_not_parse() -> None:
    index = index_of("data")
    index.put(Entry(SECOND, "$["))
    assert (len(index), index.match(EVENT)) == (1, Matches((FIRST,), ()))


def test_put_drops_the_former_jsonpath_when_the_new_one_does_not_parse() -> None:
    index = index_of("data")
    index.put(Entry(FIRST, "$["))
    assert (len(index), index.match(EVENT)) == (0, Matches((), ()))


def test_put_returns_a_fault_when_the_jsonpath_is_longer_than_the_index_takes() -> None:
    fault = SubscriptionIndex(max_length=5).put(Entry(FIRST, "$.data"))
    assert fault == Fault(FIRST, "a JSONPath has at most 5 characters, not 6", exhausted=False)


def test_remove_takes_the_subscription_out() -> None:
    index = index_of("data", "data")
    index.remove(FIRST)
    assert (len(index), index.match(EVENT).matched) == (1, (SECOND,))


def test_remove_does_nothing_when_the_subscription_is_not_there() -> None:
    index = index_of("data")
    index.remove(SECOND)
    assert len(index) == 1


def test_match_evaluates_a_jsonpath_no_more_when_its_last_subscription_is_removed() -> None:
    index = index_of("data", "data")
    index.remove(FIRST)
    index.remove(SECOND)
    event = CountingEvent(EVENT)
    index.match(event)
    assert event.lookups == 0


def test_match_evaluates_a_jsonpath_no_more_when_its_last_subscription_has_another() -> None:
    index = index_of("data")
    index.put(Entry(FIRST, "none"))
    event = CountingEvent(EVENT)
    index.match(event)
    assert event.lookups == 1


def test_match_blames_each_subscription_when_their_jsonpath_raises() -> None:
    index = index_of("data", "$.data[::0]", "$.data[0]", "$.data[::0]")
    matches = index.match(EVENT)
    error = "the step of a slice is 0"
    assert matches.matched == (FIRST, THIRD)
    assert matches.faults == (
        Fault(SECOND, error, exhausted=False),
        Fault(FOURTH, error, exhausted=False),
    )


def test_match_blames_only_the_jsonpath_that_exceeds_its_budget() -> None:
    index = index_of("$..*..*..*.none", "data", "$..*..*..*.none", "$.data[2]", budget=20)
    matches = index.match({"data": [[0] * 10] * 10})
    error = "needs more than 20 steps on this event"
    assert matches.matched == (SECOND, FOURTH)
    assert matches.faults == (
        Fault(FIRST, error, exhausted=True),
        Fault(THIRD, error, exhausted=True),
    )


def test_match_gives_each_jsonpath_the_whole_budget() -> None:
    index = index_of(*[f"$.data[{number}, *].none" for number in range(4)], budget=15)
    assert index.match(EVENT) == Matches((), ())


def test_match_works_again_when_the_former_event_exceeded_the_budget() -> None:
    index = index_of("$.data[*].a", budget=20)
    assert index.match({"data": [0] * 100}).faults
    assert index.match({"data": [{"a": 1}]}) == Matches((FIRST,), ())


def test_match_returns_what_cannot_be_changed() -> None:
    matches = index_of("$.data[::0]").match(EVENT)
    with pytest.raises(FrozenInstanceError):
        matches.matched = (FIRST,)  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        matches.faults[0].uuid = SECOND  # type: ignore[misc]


JSONPATHS = ["data", "$.data", "$.data[0]", "$.data[5]", "$.none", "$.data[::0]", "$["]
changes = st.lists(
    st.tuples(st.integers(1, 4).map(lambda number: UUID(int=number)), st.sampled_from(JSONPATHS))
    | st.integers(1, 4).map(lambda number: UUID(int=number)),
    max_size=20,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=changes)
def test_index_holds_what_the_last_change_of_each_subscription_left(changes: list[Any]) -> None:
    index = SubscriptionIndex()
    left: dict[UUID, str] = {}
    for change in changes:
        if isinstance(change, UUID):
            index.remove(change)
            left.pop(change, None)
            continue
        uuid, jsonpath = change
        fault = index.put(Entry(uuid, jsonpath))
        assert (fault is not None) == (jsonpath == "$[")
        left.pop(uuid, None)
        if fault is None:
            left[uuid] = jsonpath
    raising = {uuid for uuid, jsonpath in left.items() if jsonpath == "$.data[::0]"}
    found = {
        uuid
        for uuid, jsonpath in left.items()
        if uuid not in raising and find(parse(jsonpath), EVENT)
    }
    matches = index.match(EVENT)
    assert len(index) == len(left)
    assert (len(matches.matched), set(matches.matched)) == (len(found), found)
    assert {fault.uuid for fault in matches.faults} == raising
