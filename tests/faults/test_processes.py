"""No accepted event is lost when the service's own processes are killed, hung or stopped."""

from random import Random

import pytest

from tests.support import faults
from tests.support.deployments import deployments
from tests.support.rig import Rig
from tests.support.struck import struck

pytestmark = pytest.mark.parametrize("rig", deployments(), indirect=True)


def test_every_accepted_event_arrives_when_workers_are_killed(rig: Rig, random: Random) -> None:
    run = struck(rig, random, faults.KILL_WORKER, faults.KILL_WORKER_MAIN)
    assert run.tally.lost == 0
    assert run.tally.doubled <= run.doubles


def test_every_accepted_event_arrives_when_pool_processes_are_killed(
    rig: Rig, random: Random
) -> None:
    run = struck(rig, random, *[faults.KILL_POOL_PROCESS] * 2)
    assert run.tally.lost == 0
    assert run.tally.doubled <= run.doubles


def test_every_accepted_event_arrives_once_when_the_web_server_is_killed_and_all_are_stopped(
    rig: Rig, random: Random
) -> None:
    run = struck(rig, random, faults.KILL_WEB, faults.STOP_WORKER, faults.STOP_WEB)
    assert run.tally.lost == 0
    assert run.tally.doubled == 0


def test_every_accepted_event_arrives_when_a_worker_hangs_and_another_takes_over(
    rig: Rig, random: Random
) -> None:
    run = struck(rig, random, faults.HANG_WORKER)
    assert run.tally.lost == 0
    assert run.tally.doubled <= run.doubles
