"""What Metadata is asked about an event, what its answer means, and what follows."""

import json
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.events import Event, parse_event
from pacifica.notifications.flow import Settlement
from pacifica.notifications.settings import SettleSettings
from pacifica.notifications.settlement import (
    Answer,
    Step,
    answer_of,
    is_awaited,
    next_step,
    question,
    request,
    step_without_question,
)
from pacifica.notifications.transport import Response, SendFailure

SETTINGS = SettleSettings()
CAPTURES = Path(__file__).parents[1] / "captures"
RECEIVED = datetime(2026, 1, 31, 12)
HOUR, DAY = 3600.0, 86400.0


def asked(event: Event) -> str | None:
    return question(event.summary.type, event.summary.transaction, event)


def captured(name: str) -> Event:
    return parse_event((CAPTURES / f"{name}.json").read_bytes(), 100)


def orm(data: Any) -> Event:
    return Event(uuid4(), json.dumps({"eventType": "org.pacifica.metadata.orm", "data": data}))


def step(current: Settlement, answer: Answer, age: float) -> tuple[Settlement, float | None]:
    """Return what becomes of an event of this age, and in how many seconds it is looked at."""
    now = RECEIVED + timedelta(seconds=age)
    found = next_step(current, answer, RECEIVED, now, SETTINGS)
    return found.settlement, None if found.due is None else (found.due - now).total_seconds()


@pytest.mark.parametrize(
    ("capture", "path"),
    [
        ("ingest", "/transactioninfo/by_id/2001"),
        ("orm-transactions", "/transactions?_id=2001&recursion_depth=0"),
        ("orm-users", "/users?_id=4711&recursion_depth=0"),
        ("orm-files", "/files?_id=20011&recursion_depth=0"),
        ("orm-composite-key", "/user_group?user=11&group=0&recursion_depth=0"),
        ("doientry", None),
    ],
)
def test_question_is_the_transaction_or_the_object_that_an_event_tells_of(
    capture: str, path: str | None
) -> None:
    assert asked(captured(capture)) == path


@pytest.mark.parametrize("method", ["update", "delete", None])
def test_nothing_is_asked_about_what_was_there_before(method: str | None) -> None:
    keys = [{"_id": 1}]
    assert asked_orm({"obj_type": "users", "obj_primary_keys": keys, "method": method}) is None


def asked_orm(data: Any) -> str | None:
    return question("org.pacifica.metadata.orm", None, orm(data))


def test_key_is_quoted_so_that_it_can_be_no_other_request() -> None:
    data = {"method": "insert", "obj_type": "a/../b?c", "obj_primary_keys": [{"id": "é&x=1 /"}]}
    assert asked_orm(data) == "/a%2F..%2Fb%3Fc?_id=%C3%A9%26x%3D1+%2F&recursion_depth=0"


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"obj_type": "users", "obj_primary_keys": []},
        {"obj_type": "users", "obj_primary_keys": {"id": 1}},
        {"obj_type": "users", "obj_primary_keys": [1]},
        {"obj_type": "users", "obj_primary_keys": [{}]},
        {"obj_type": "users", "obj_primary_keys": [{"id": [1]}]},
        {"obj_type": "users", "obj_primary_keys": [{"id": "\ud800"}]},
        {"obj_type": "users", "obj_primary_keys": [{"id": "x" * 10_000}]},
        {"obj_type": "", "obj_primary_keys": [{"id": 1}]},
        {"obj_type": "..", "obj_primary_keys": [{"id": 1}]},
        {"obj_type": 1, "obj_primary_keys": [{"id": 1}]},
    ],
)
def test_nothing_is_asked_when_the_data_is_not_as_metadata_writes_it(data: Any) -> None:
    assert asked_orm({**data, "method": "insert"} if isinstance(data, dict) else data) is None


@given(st.text())
def test_a_question_is_a_request_that_can_be_sent_whatever_the_key(key: str) -> None:
    data = {"method": "insert", "obj_type": "users", "obj_primary_keys": [{"id": key}]}
    path = asked_orm(data)
    if path is not None:
        assert request("http://metadata.invalid", path).url.startswith("http://metadata.invalid/u")


def test_only_the_events_of_metadata_wait() -> None:
    assert all(is_awaited(captured(path.stem).summary.type) for path in CAPTURES.glob("*.json"))
    assert not is_awaited("org.example.created")
    assert not is_awaited("")


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, b'{"_id": 1}', Answer.SHOWN),
        (200, b'[{"_id": 1}]', Answer.SHOWN),
        (200, b"[]", Answer.ABSENT),
        (200, b"[]\n", Answer.ABSENT),
        (404, b"", Answer.ABSENT),
        (500, b"[]", Answer.NONE),
        (503, b"", Answer.NONE),
        (401, b"", Answer.NONE),
        (301, b"", Answer.NONE),
    ],
)
def test_answer_is_whether_metadata_shows_an_object(
    status: int, body: bytes, answer: Answer
) -> None:
    assert answer_of(Response(status, body, False, None, 0.1)) is answer


def test_a_request_that_failed_here_says_nothing_of_metadata() -> None:
    assert answer_of(SendFailure("time-out", 1.0)) is Answer.NONE
    assert answer_of(SendFailure("closed", 0.0, ours=True)) is Answer.NOT_ASKED


def test_event_goes_on_as_soon_as_it_is_shown_whatever_it_was() -> None:
    for current in (Settlement.SETTLING, Settlement.UNANSWERED, Settlement.UNSETTLED):
        assert step(current, Answer.SHOWN, 0.05) == (Settlement.SETTLED, None)


def test_metadata_is_asked_again_after_a_tenth_of_a_second_then_ever_more_rarely() -> None:
    ages, waits = [SETTINGS.first_wait], []
    while ages[-1] < SETTINGS.max_wait:
        settlement, wait = step(Settlement.SETTLING, Answer.ABSENT, ages[-1])
        assert settlement is Settlement.SETTLING
        assert wait is not None
        waits.append(wait)
        ages.append(ages[-1] + wait)
    assert waits[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert all(earlier <= later for earlier, later in pairwise(waits))
    assert set(waits[6:]) == {5.0}
    assert step(Settlement.SETTLING, Answer.ABSENT, ages[-1]) == (Settlement.UNSETTLED, HOUR)


def test_unsettled_event_is_asked_each_hour_and_expires_after_a_day() -> None:
    for age in (60, HOUR, DAY):
        assert step(Settlement.UNSETTLED, Answer.ABSENT, age) == (Settlement.UNSETTLED, HOUR)
    end = 60 + DAY
    assert step(Settlement.UNSETTLED, Answer.ABSENT, end) == (Settlement.EXPIRED, None)


def test_event_that_no_worker_looked_at_for_days_is_asked_once_more_before_it_expires() -> None:
    assert step(Settlement.SETTLING, Answer.ABSENT, 9 * DAY) == (Settlement.UNSETTLED, HOUR)


def test_event_goes_on_as_unknown_when_metadata_is_away_twice_and_for_a_second() -> None:
    assert step(Settlement.SETTLING, Answer.NONE, 30) == (Settlement.UNANSWERED, 5.0)
    assert step(Settlement.UNANSWERED, Answer.NONE, 0.9) == (Settlement.UNANSWERED, 1.6)
    assert step(Settlement.UNANSWERED, Answer.NONE, 1.0) == (Settlement.UNKNOWN, None)
    assert step(Settlement.UNANSWERED, Answer.ABSENT, 2.0) == (Settlement.SETTLING, 3.2)


def test_unsettled_event_never_goes_on_because_metadata_is_away() -> None:
    assert step(Settlement.UNSETTLED, Answer.NONE, 100) == (Settlement.UNSETTLED, HOUR)
    assert step(Settlement.UNSETTLED, Answer.NOT_ASKED, 100) == (Settlement.UNSETTLED, HOUR)


def test_event_stays_what_it_is_when_there_was_no_time_to_ask() -> None:
    for current in (Settlement.SETTLING, Settlement.UNANSWERED):
        assert step(current, Answer.NOT_ASKED, 70) == (current, 5.0)


def test_event_about_which_nothing_can_be_asked_waits_for_the_delay() -> None:
    def after(age: float) -> Step:
        return step_without_question(RECEIVED, RECEIVED + timedelta(seconds=age), SETTINGS)

    due = RECEIVED + timedelta(seconds=0.05 + 1.0)
    assert after(0.05) == Step(Settlement.SETTLING, due)
    assert after(1.0) == Step(Settlement.SETTLED)
    assert after(-HOUR) == Step(Settlement.SETTLED)  # the clock was put back


def test_clock_that_was_put_back_delays_no_question() -> None:
    assert step(Settlement.SETTLING, Answer.ABSENT, -DAY) == (Settlement.SETTLING, 0.1)
