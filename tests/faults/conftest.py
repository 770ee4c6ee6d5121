"""Deployments that run for as long as the tests of this tier need them."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.support.deployments import Deployment
from tests.support.rig import Rig, moments, running, seed

_SEED = seed()


@pytest.fixture(scope="session")
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Give a running deployment, the one of the test's parameter."""
    deployment: Deployment = request.param
    with running(deployment, tmp_path_factory.mktemp(deployment.name)) as rig:
        yield rig


@pytest.fixture(autouse=True)
def _repaired(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep what one failed test leaves from the others, which share its deployment."""
    yield
    if "rig" in request.fixturenames:
        request.getfixturevalue("rig").repair()


@pytest.fixture
def random(request: pytest.FixtureRequest) -> Random:
    """Give the moments of a test, which TEST_FAULTS_SEED repeats."""
    print(f"TEST_FAULTS_SEED={_SEED}")
    return moments(f"{_SEED} {request.node.nodeid}")
