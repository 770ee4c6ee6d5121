"""Who waits for what: the longest and the surplus are known at any time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.webserver.places import Bounds, Places, Stage
from tests.support.clocks import Clock

BOUNDS = Bounds(
    header_timeout=10, body_timeout=60, idle_timeout=5, gathered=1, connections=4, held=100
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def places(clock: Clock) -> Places[str]:
    return Places(BOUNDS, clock)


def test_client_is_late_when_its_stage_allows_no_more_time(
    places: Places[str], clock: Clock
) -> None:
    places.enter("head", Stage.HEAD, 1)
    places.enter("idle", Stage.IDLE, 0)
    clock.now = 5
    assert places.late() == ["idle"]
    clock.now = 9
    places.enter("head", Stage.HEAD, 2)  # another byte gives no more time
    clock.now = 10
    assert places.late() == ["idle", "head"]
    places.enter("head", Stage.BODY, 3)
    assert places.late() == ["idle"]


def test_longest_waiting_client_is_surplus_when_too_many_wait(
    places: Places[str], clock: Clock
) -> None:
    for number, stage in enumerate((Stage.BODY, Stage.HEAD, Stage.IDLE, Stage.HEAD)):
        clock.now = number
        places.enter(str(number), stage, 0)
    assert places.surplus() is None
    places.enter("4", Stage.HEAD, 0)
    assert places.surplus() == "0"
    places.leave("0")
    assert places.surplus() is None


def test_longest_waiting_client_is_surplus_when_too_much_is_held(
    places: Places[str], clock: Clock
) -> None:
    places.enter("idle", Stage.IDLE, 0)
    clock.now = 1
    places.enter("first", Stage.BODY, 50)
    clock.now = 2
    places.enter("second", Stage.SENDING, 50)
    assert places.surplus() is None
    places.enter("second", Stage.SENDING, 51)
    assert places.surplus() == "first"
    assert places.leave("first") == 50
    assert places.surplus() is None


steps = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from([*Stage, None]), st.integers(0, 200)), max_size=30
)


@given(steps)
def test_nobody_is_forgotten_whatever_happens(steps: list[tuple[int, Stage | None, int]]) -> None:
    clock = Clock()
    places: Places[int] = Places(BOUNDS, clock)
    known: dict[int, tuple[Stage, int]] = {}
    for client, stage, size in steps:
        clock.now += 1
        if stage is None:
            assert places.leave(client) == known.pop(client, (None, 0))[1]
        else:
            places.enter(client, stage, size)
            known[client] = (stage, size)
        assert len(places) == len(known)
        assert {each: places.stage_of(each) for each in known} == {
            each: stage for each, (stage, _) in known.items()
        }
    while (surplus := places.surplus()) is not None:
        places.leave(surplus)
        del known[surplus]
    assert len(known) <= BOUNDS.connections
    assert sum(size for stage, size in known.values() if size and stage in HOLDING) <= 100


HOLDING = (Stage.HEAD, Stage.BODY, Stage.LARGE, Stage.SENDING)
