"""A migrated database on every engine, for the tests of the store."""

from collections.abc import Iterator

import pytest

from pacifica.notifications.config import load_settings
from pacifica.notifications.settings import Settings
from tests.integration.store.recovering import WAITS
from tests.support import databases
from tests.support.configured import changed
from tests.support.stored import forget_rows, migrated_database


@pytest.fixture(scope="module", params=databases.ENGINES)
def migrated(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Give the URL of a migrated database that the tests of a module share."""
    with migrated_database(request.param, tmp_path_factory.mktemp("store")) as url:
        yield url


@pytest.fixture(autouse=True)
def database(migrated: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Configure the service for a database without rows."""
    with databases.configured(migrated, monkeypatch):
        forget_rows()
        yield migrated


@pytest.fixture
def settings(database: str) -> Settings:  # noqa: ARG001 (the settings name that database)
    """Return settings with which what recovers goes a few steps."""
    return changed(
        load_settings(), recovery_waits=WAITS, recovery_horizon=20_000.0, holding_release_batch=2
    )
