"""No accepted event is lost, and nobody restarts anything, when the broker is away."""

from random import Random

import pytest

from tests.support.deployments import deployments
from tests.support.faults import CUT_BROKER, EMPTY_BROKER, FREEZE_BROKER
from tests.support.rig import Rig
from tests.support.struck import BOUND, struck

pytestmark = pytest.mark.parametrize("rig", deployments(), indirect=True)


def test_events_are_accepted_soon_and_arrive_once_when_the_broker_is_away_or_loses_its_queue(
    rig: Rig, random: Random
) -> None:
    faults = (CUT_BROKER, EMPTY_BROKER, FREEZE_BROKER, EMPTY_BROKER)
    run = struck(rig, random, *[each for each in faults if each.applies_to(rig)])
    assert {each.status for each in run.posted} == {200}
    assert run.tally.slowest < BOUND
    assert run.tally.lost == 0
    assert run.tally.doubled == 0
