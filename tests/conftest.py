"""Fixtures that tests of every tier share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import databases
from tests.support.templates import Templates

_TIERS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the name of its folder, such as `unit`."""
    for item in items:
        item.add_marker(item.path.relative_to(_TIERS).parts[0])


@pytest.fixture(params=databases.ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Name each engine in turn.

    A test that needs one only says `@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)`.
    """
    return request.param


@pytest.fixture
def absent_database(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Configure the service for a database that does not exist yet; yields its URL."""
    url = databases.unused_url(engine, tmp_path)
    try:
        with databases.configured(url, monkeypatch):
            yield url
    finally:
        databases.drop(url)


@pytest.fixture
def empty_database(absent_database: str) -> str:
    """Configure the service for a database without tables; returns its URL."""
    databases.create(absent_database)
    return absent_database


@pytest.fixture(scope="session")
def _templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    templates = Templates(tmp_path_factory.mktemp("templates"))
    yield templates
    templates.drop()


@pytest.fixture
def database(engine: str, absent_database: str, _templates: Templates) -> str:
    """Configure the service for a migrated database; returns its URL."""
    _templates.copy_to(absent_database, engine)
    return absent_database
