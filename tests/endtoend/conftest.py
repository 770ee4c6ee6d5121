"""What modules of this tier share beside an `isolation` of their own."""

from collections.abc import Iterator

import pytest

from tests.endtoend.stage import Stage, whole_service
from tests.support.isolation import Healthy, Isolation, healthy_in


@pytest.fixture
def healthy(isolation: Isolation) -> Iterator[Healthy]:
    """Give a subscription of another user, beside which a test puts bad ones."""
    with healthy_in(isolation) as healthy:
        yield healthy


@pytest.fixture(scope="session")
def _running_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with whole_service(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def stage(_running_stage: Stage) -> Stage:
    """Give the service, which has no subscriptions and whose target takes everything."""
    return _running_stage.cleared()
