"""The counts of a process: what they hold, and when they count."""

from contextlib import suppress

import pytest

from pacifica.notifications.metrics import (
    ATTEMPTS,
    DELIVERIES_FINISHED,
    DURATIONS,
    EVENTS_RECEIVED,
    RECEIVE_TO_TARGET,
    TOTALS,
    Tallies,
)

_KEY_LENGTH = 64


def test_counts_are_added_until_they_are_taken() -> None:
    tallies = Tallies()
    tallies.add(EVENTS_RECEIVED, 2)
    tallies.add(EVENTS_RECEIVED)
    tallies.add(DELIVERIES_FINISHED, 0, "denied")
    taken = tallies.take()
    assert taken == {"events_received:": 3}
    assert tallies.take() == {}
    tallies.add(EVENTS_RECEIVED)
    tallies.put_back(taken)
    assert tallies.take() == {"events_received:": 4}


def test_counts_of_a_transaction_are_discarded_when_it_fails() -> None:
    tallies = Tallies()
    with suppress(ZeroDivisionError), tallies.transaction():
        tallies.add(EVENTS_RECEIVED)
        _ = 1 / 0
    assert tallies.take() == {}
    with tallies.transaction():
        tallies.add(EVENTS_RECEIVED)
        assert tallies.take() == {}
    assert tallies.take() == {"events_received:": 1}


def test_durations_are_in_the_bucket_of_the_first_limit_that_they_do_not_exceed() -> None:
    tallies = Tallies()
    first, second = RECEIVE_TO_TARGET.limits[:2]
    for seconds in (-5.0, first, first + 0.001, second, 1e9):
        tallies.observe(RECEIVE_TO_TARGET, seconds)
    buckets, total = RECEIVE_TO_TARGET.buckets(tallies.take(), "")
    assert buckets[:3] == [(str(first), 1 + 1), (str(second), 4), (buckets[2][0], 4)]
    assert buckets[-1] == ("+Inf", 5)
    assert total == pytest.approx(2 * first + 0.001 + second + 1e9)


def test_a_label_has_no_other_value_than_those_that_are_listed() -> None:
    with pytest.raises(ValueError, match="alice"):
        Tallies().add(DELIVERIES_FINISHED, value="alice")
    with pytest.raises(ValueError, match="6xx"):
        Tallies().observe(ATTEMPTS, 1.0, "6xx")


def test_every_key_fits_its_column_and_names_differ() -> None:
    keys = [total.key(value) for total in TOTALS for value in total.values]
    for each in DURATIONS:
        keys += [
            each.key(value, part)
            for value in each.values
            for part in (*range(len(each.limits) + 1), "sum")
        ]
    assert len(keys) == len(set(keys))
    assert max(map(len, keys)) <= _KEY_LENGTH
