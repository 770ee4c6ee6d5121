"""How long a group of subscriptions is expected to take."""

import pytest

from pacifica.notifications.matching.candidates import SearchCost


def expected(*searches: float) -> float:
    cost = SearchCost()
    for seconds in searches:
        cost.took(seconds)
    return cost.seconds


def test_first_search_says_what_the_next_will_take() -> None:
    assert expected(0.3) == 0.3


def test_single_slow_search_among_others_does_not_count() -> None:
    assert expected(0.001, 0.5, 0.001) == 0.001


def test_group_that_is_slow_now_and_then_is_slow() -> None:
    assert expected(0.001, 0.5, 0.001, 0.001, 0.5) == pytest.approx(0.5 * 0.8**2)
    assert expected(*[0.001, 0.001, 0.5] * 5) > 0.2


def test_group_that_was_slow_is_expected_to_be_fast_after_many_fast_searches() -> None:
    assert expected(0.5, 0.5, *[0.001] * 40) == 0.001


def test_group_that_is_not_searched_is_tried_again_some_time() -> None:
    cost = SearchCost()
    cost.took(0.5)
    for _ in range(500):
        cost.was_not_searched()
    assert 0 < cost.seconds < 0.01
