from itertools import count

import pytest
from hypothesis import strategies as st

from tests.fuzz.running import feed
from tests.fuzz.targets import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_target_does_not_crash_whatever_it_is_fed(target: Target) -> None:
    report = feed(target)
    assert report.crashes == []
    assert report.inputs >= 300
    # Inputs that validation refuses test nothing else.
    assert report.taken >= 10


def test_feed_tells_of_a_crash_with_the_smallest_input_for_it() -> None:
    def read(number: int) -> bool:
        if number > 1000:
            raise ZeroDivisionError("too much")
        return True

    report = feed(Target("fragile", st.integers(), read), rounds=10)
    (crash,) = report.crashes
    assert "ZeroDivisionError: too much" in crash
    assert crash.endswith(" 1001")


def test_feed_goes_on_when_its_seconds_are_not_over() -> None:
    passing = count(0, 0.2)
    report = feed(Target("quick", st.integers(), bool), seconds=1, clock=lambda: next(passing))
    assert report.inputs >= 3 * 300
    assert report.seconds >= 1


def test_feed_gives_the_same_inputs_when_the_seed_is_the_same() -> None:
    def seen(number: int) -> list[int]:
        inputs: list[int] = []
        feed(Target("kept", st.integers(), lambda each: not inputs.append(each)), first_seed=number)
        return inputs

    assert seen(1) == seen(1) != seen(2)
