"""Recovering: when a failed delivery, and a disabled subscription, are tried again."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.delivery.retries import jittered, next_probe
from pacifica.notifications.settings import Settings

NOW = datetime(2026, 1, 31, 12, 0, 0)
SETTINGS = Settings()
SECONDS = st.floats(0, 1e6)


@given(st.integers(1, 10_000), SECONDS, SECONDS)
def test_wait_is_never_longer_than_its_bound(failures: int, first: float, most: float) -> None:
    wait = jittered(failures, first, most).total_seconds()
    assert 0 <= wait <= min(first * 2.0 ** min(failures - 1, 1000), most) + 1e-6


@pytest.mark.parametrize(("failures", "bound"), [(1, 2), (2, 4), (3, 8), (4, 10), (5000, 10)])
def test_waits_are_spread_evenly_from_nothing_to_a_bound_that_doubles(
    failures: int, bound: float
) -> None:
    waits = [jittered(failures, 2, 10).total_seconds() / bound for _ in range(4000)]
    for tenth in range(10):
        share = sum(tenth / 10 <= wait <= (tenth + 1) / 10 for wait in waits) / len(waits)
        assert 0.06 < share < 0.14  # eight standard deviations away


@pytest.mark.parametrize(
    ("number", "seconds"), [(1, 30), (2, 300), (3, 1800), (4, 7200), (5, 21600), (99, 21600)]
)
def test_probe_is_due_after_the_wait_of_its_number_and_the_last_one_repeats(
    number: int, seconds: float
) -> None:
    assert next_probe(number, NOW, NOW, SETTINGS.recovery) == NOW + timedelta(seconds=seconds)


def test_probes_end_a_week_after_the_subscription_was_disabled() -> None:
    last = timedelta(days=7) - timedelta(hours=6)
    assert next_probe(9, NOW, NOW - last, SETTINGS.recovery) == NOW + timedelta(hours=6)
    assert next_probe(9, NOW, NOW - last - timedelta(seconds=1), SETTINGS.recovery) is None


def test_probes_go_on_when_the_subscription_waits_for_policy_alone() -> None:
    assert next_probe(10_000, NOW, None, SETTINGS.recovery) == NOW + timedelta(hours=6)
