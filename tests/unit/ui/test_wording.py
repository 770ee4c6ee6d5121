"""How the page says what is going on."""

from datetime import datetime
from typing import Any

import pytest

from pacifica.notifications.matching import trace_jsonpath
from pacifica.notifications.store.overview import Hour, Overview, Standing
from pacifica.notifications.ui.rendering import counted, when
from pacifica.notifications.ui.trace_words import explained
from pacifica.notifications.ui.wording import advice_on, chart_of, reason_of, state_shown

NOW = "2026-01-31T10:42:00.000000"
FAILED = (
    "2026-01-31T10:42:00Z: POST of event 5b9e to https://a.example:8443/in failed after 4 "
    "attempts: {}"
)
FILES = {
    "data": [{"destinationTable": "Files", "mimetype": "text/plain"}, {"destinationTable": "x"}]
}


def overview(standing: Standing, disabled: str | None = None, error: str | None = None) -> Overview:
    subscription = {"disabled": disabled, "error": error}
    return Overview(subscription, standing, datetime(2026, 1, 31, 10, 55), None, ())


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("status 503: Service Unavailable", "503 from a.example:8443"),
        ("status 410, gone: ", "410 from a.example:8443"),
        ("time-out", "time-out (a.example:8443)"),
    ],
)
def test_reason_is_short(said: str, reason: str) -> None:
    assert reason_of(FAILED.format(said)) == reason


def test_other_errors_are_shown_as_they_are() -> None:
    error = "its JSONPath failed on event 5b9e: slice step cannot be zero"
    assert reason_of(error) == error
    assert "workbench" in advice_on(error)
    assert "add you as a user" in advice_on("Policy does not know the user carol")


@pytest.mark.parametrize(
    ("status", "part"),
    [(401, "sign-in"), (404, "address"), (410, "gone"), (400, "enable the subscription again")],
)
def test_advice_fits_the_status(status: int, part: str) -> None:
    assert part in advice_on(FAILED.format(f"status {status}: no"))


def test_states_have_a_word_a_shape_and_what_belongs_to_them() -> None:
    failing = state_shown(overview(Standing.FAILING, NOW, FAILED.format("status 503: no")))
    assert (failing.shape, failing.word) == ("failing", "Failing")
    assert failing.since == datetime(2026, 1, 31, 10, 42)
    assert failing.next_try == datetime(2026, 1, 31, 10, 55)
    assert state_shown(overview(Standing.PAUSED, NOW)).word == "Paused by you"
    assert state_shown(overview(Standing.DELIVERING)).word == "Delivering"
    disabled = state_shown(overview(Standing.DISABLED, NOW, FAILED.format("status 404: no")))
    assert disabled.next_try is None
    assert disabled.advice


def test_bars_show_also_a_single_one_among_many_and_stay_inside() -> None:
    start = datetime(2026, 1, 31)
    chart = chart_of((Hour(start, 1000, 1), Hour(start, 1, 0), Hour(start)))
    assert (chart.delivered, chart.failed) == (1001, 1)
    assert chart.delivered_path == "M0 30v-28h4V30zM5 30v-2h4V30z"
    assert chart.failed_path == "M0 2v-2h4V2z"


def test_trace_counts_records_and_hints() -> None:
    text = '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plan")]'
    found = explained(trace_jsonpath(text, FILES))
    assert (found.shape, found.headline) == ("no", "This event does not match.")
    said = [(line.counts, line.text, line.is_stop) for line in found.lines]
    assert ("2 records, 1 passed", 'destinationTable = "Files"', False) in said
    assert ("1 record, 0 passed", 'mimetype = "text/plan"', True) in said
    assert any("text/plain" in line.hint for line in found.lines)


@pytest.mark.parametrize(
    ("expression", "event", "shape"),
    [
        ("$.data[*]", FILES, "yes"),
        ("$..[?($..[?($..[?($..[?(@ = 7)])])])]", FILES, "warning"),
        ("$.data[::0]", FILES, "warning"),
        ("$.nothing", FILES, "no"),
    ],
)
def test_each_result_has_a_headline(expression: str, event: Any, shape: str) -> None:
    found = explained(trace_jsonpath(expression, event, 500))
    assert found.shape == shape
    assert found.headline.endswith(".")


def test_times_name_their_zone_and_are_readable_by_scripts() -> None:
    assert str(when("2026-01-31T10:42:07")) == (
        '<time datetime="2026-01-31T10:42:07Z" title="2026-01-31 10:42:07 UTC">'
        "31 Jan 2026, 10:42 UTC</time>"
    )
    assert when("2026-01-31T10:42:07+02:00") == when(datetime(2026, 1, 31, 8, 42, 7))


def test_counts_have_the_right_number() -> None:
    assert [counted(n, "record") for n in (0, 1, 1204)] == [
        "0 records",
        "1 record",
        "1,204 records",
    ]
