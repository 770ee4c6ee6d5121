"""How deliveries and attempts are said in words, and repeated by curl."""

import json
import shlex
from typing import Any

import pytest

from pacifica.notifications.flow import State
from pacifica.notifications.reasons import MEANINGS, Reason
from pacifica.notifications.ui.calendar import calendar_of
from pacifica.notifications.ui.delivery_words import (
    MAX_COPIED,
    STATE_WORDS,
    as_input,
    curl,
    delivery_shown,
    duration,
    in_plain_words,
    status_words,
)
from pacifica.notifications.ui.plots import seconds_words

URL = "https://a.example/in?x='y"


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (None, ""),
        (340, "340 ms"),
        (2140, "2.1 s"),
        (180_000, "3 min"),
        (7_200_000, "2 h"),
        (3 * 86_400_000, "3 days"),
    ],
)
def test_duration(milliseconds: int | None, words: str) -> None:
    assert duration(milliseconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "nothing waits"), (0.2, "less than 1 s"), (42, "42 s"), (180, "3 min"), (5400, "1.5 h")],
)
def test_wait_in_words(seconds: float, words: str) -> None:
    assert seconds_words(seconds) == words


def test_status_has_its_phrase_where_it_has_one() -> None:
    assert [status_words(each) for each in (None, 503, 599)] == [
        "",
        "503 Service Unavailable",
        "599",
    ]


def test_every_state_and_reason_has_words_without_terms_of_programmers() -> None:
    assert set(STATE_WORDS) == set(State)
    for reason in Reason:
        for text in (MEANINGS[reason].meaning, MEANINGS[reason].action):
            assert "JSONPath" not in in_plain_words(text)


def test_retried_delivery_is_told_apart_from_a_new_one() -> None:
    delivery: dict[str, Any] = {"state": "allowed", "latency": None}
    new = delivery_shown({**delivery, "reason": "sending"})
    again = delivery_shown({**delivery, "reason": "retrying"})
    assert (new.word, again.word) == ("Being sent", "Tried again")
    assert new.shape != again.shape
    assert new.is_under_way
    assert not delivery_shown({**delivery, "state": "held", "reason": "held"}).is_under_way


def test_curl_repeats_the_request_whatever_is_in_it() -> None:
    content = {"data": ["it's", "$HOME", '"quoted"', "\u00e9\n"]}
    headers = [["Content-Type", "application/json"], ["Authorization", "***"], ["Host", "a"]]
    words = shlex.split(curl(URL, headers, content).replace("\\\n", ""))
    assert words[:4] == ["curl", "-X", "POST", URL]
    assert json.loads(words[-1]) == content
    assert words[4:-2] == ["-H", "Content-Type: application/json", "-H", "Authorization: ***"]


def test_curl_of_binary_mode_has_the_data_alone() -> None:
    headers = [["ce-id", "1"], ["Content-Type", "text/plain"]]
    assert shlex.split(curl(URL, headers, {"id": "1", "data": "text"}))[-1] == "text"


def test_curl_is_left_out_for_a_large_event() -> None:
    assert curl(URL, [], {"data": "x" * MAX_COPIED}) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2026-11-24T02:50:42Z", "2026-11-24T02:50"),
        ("2026-11-24T02:50+02:00", "2026-11-24T00:50"),
        ("2026-11-24", "2026-11-24T00:00"),
        ("x", ""),
    ],
)
def test_time_fits_its_field(text: str, shown: str) -> None:
    assert as_input(text) == shown


def test_calendar_has_each_day_and_shows_a_single_event_among_many() -> None:
    shown = calendar_of(
        {
            "uuid": "x",
            "state": "finished",
            "stopped_by": "matches",
            "waits_for": None,
            "progress": 1.0,
            "jsonpath": "$",
            "matched": 1001,
            "gained": 1,
            "lost": 2,
            "errors": 0,
            "from": "2026-01-28T10:00:00Z",
            "to": "2026-01-31T10:00:00Z",
            "days": [
                {"day": "2026-01-29", "matched": 1000, "gained": 0, "lost": 0},
                {"day": "2026-01-31", "matched": 1, "gained": 1, "lost": 2},
            ],
            "examples": [],
            "withheld": False,
        }
    )
    assert [(each.day.day, each.matched) for each in shown.days] == [
        (28, 0),
        (29, 1000),
        (30, 0),
        (31, 1),
    ]
    assert shown.days[3].height == 2
    assert shown.days[0].height == 0
    assert all(each.y + each.height == shown.days[0].y for each in shown.days)
    assert shown.is_compared
    assert "not counted" in shown.note
