"""What modules of this tier share beside an `isolation` of their own."""

from collections.abc import Iterator

import pytest

from tests.support.isolation import Healthy, Isolation, healthy_in


@pytest.fixture
def healthy(isolation: Isolation) -> Iterator[Healthy]:
    """Give a subscription of another user, beside which a test puts bad ones."""
    with healthy_in(isolation) as healthy:
        yield healthy
