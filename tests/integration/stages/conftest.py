"""A worker's stages on a fresh database, between a Policy and targets that tests speak for."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pacifica.notifications.config import load_settings
from pacifica.notifications.settings import Settings
from tests.integration.stages.flow import Flow
from tests.support.configured import changed
from tests.support.servers import (
    RecordingServer,
)


@pytest.fixture
def policy() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def other_target() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


@pytest.fixture
def configured(database: str) -> Settings:  # noqa: ARG001 (the settings name that database)
    return changed(
        load_settings(),
        policy_timeout=0.4,
        delivery_timeout=2.0,
        delivery_attempts=3,
        delivery_batch_wait=0.3,
    )


@pytest.fixture
def make_flow(
    configured: Settings, policy: RecordingServer, target: RecordingServer
) -> Iterator[Callable[..., Flow]]:
    made: list[Flow] = []

    def make(**changes: Any) -> Flow:
        settings = changed(configured, **{"notifications_policy_url": policy.url, **changes})
        made.append(Flow(settings, policy, target))
        return made[-1]

    yield make
    for flow in made:
        policy.over.set()
        target.over.set()
        flow.close()


@pytest.fixture
def flow(make_flow: Callable[..., Flow]) -> Flow:
    return make_flow()
