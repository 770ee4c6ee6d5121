"""A migrated database on every engine, for the tests of the store."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from pacifica.notifications.config import load_settings
from pacifica.notifications.settings import Settings
from tests.integration.store.recovering import WAITS
from tests.support import databases
from tests.support.configured import changed
from tests.support.stored import forget_all
from tests.support.templates import migrated_database


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Give what returns an engine's migrated database, which all tests of the store share."""
    folder = tmp_path_factory.mktemp("store")
    with ExitStack() as stack:
        yield cache(lambda engine: stack.enter_context(migrated_database(engine, folder)))


@pytest.fixture
def migrated(engine: str, _shared: Callable[[str], str]) -> str:
    """Give the URL of a migrated database that tests share."""
    return _shared(engine)


@pytest.fixture(autouse=True)
def database(migrated: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Configure the service for a database without rows."""
    with databases.configured(migrated, monkeypatch):
        forget_all()
        yield migrated


@pytest.fixture
def settings(database: str) -> Settings:  # noqa: ARG001 (the settings name that database)
    """Return settings with which what recovers goes a few steps."""
    return changed(
        load_settings(), recovery_waits=WAITS, recovery_horizon=20_000.0, holding_release_batch=2
    )
