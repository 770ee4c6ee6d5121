"""Nothing is lost, and everything goes on by itself, when a target or Policy is away."""

from random import Random

import pytest

from tests.support import faults
from tests.support.deployments import deployments
from tests.support.faults import linger
from tests.support.rig import DIRECT, LINKED, SECOND, Rig, came_true
from tests.support.struck import struck

pytestmark = pytest.mark.parametrize("rig", deployments(), indirect=True)


def test_held_events_arrive_by_themselves_and_the_others_meanwhile_when_a_target_is_down(
    rig: Rig, random: Random
) -> None:
    rig.target.down = frozenset({LINKED})
    with rig.load() as load:
        assert came_true(lambda: rig.disabled() == {LINKED}, 15)
        linger(random)
    assert rig.settle(load, paths=(DIRECT, SECOND)).lost == 0
    assert rig.disabled() == {LINKED}
    rig.target.down = frozenset()
    tally = rig.settle(load)
    assert tally.lost == 0
    assert tally.doubled == 0
    assert not rig.disabled()


def test_nothing_is_disabled_and_everything_arrives_once_when_policy_is_away(
    rig: Rig, random: Random
) -> None:
    disabled: set[str] = set()
    ways = (
        faults.FAIL_POLICY,
        faults.REPLACE_POLICY,
        faults.CUT_POLICY,
        faults.FREEZE_POLICY,
    )
    run = struck(rig, random, *ways, after_each=lambda: disabled.update(rig.disabled()))
    assert not disabled
    assert run.tally.lost == 0
    assert run.tally.doubled == 0
