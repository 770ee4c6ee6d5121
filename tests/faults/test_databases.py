"""Producers are told within their bound, and all recovers by itself, when the database is away."""

from random import Random

import pytest

from tests.support.deployments import deployments
from tests.support.faults import CUT_DATABASE, FREEZE_DATABASE
from tests.support.rig import Rig
from tests.support.struck import BOUND, struck

ON_SERVERS = deployments("postgresql-amqp", "postgresql-redis", "mariadb-redis")


@pytest.mark.parametrize("rig", ON_SERVERS, indirect=True)
def test_producers_are_answered_in_time_and_what_was_accepted_arrives_when_the_database_is_away(
    rig: Rig, random: Random
) -> None:
    run = struck(rig, random, CUT_DATABASE, FREEZE_DATABASE)
    assert {each.status for each in run.posted} <= {200, 503}
    assert all(each.retry_after for each in run.posted if each.status == 503)
    assert run.tally.slowest < BOUND
    assert run.tally.lost == 0
    assert run.tally.doubled <= run.doubles
