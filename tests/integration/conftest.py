"""What tests of this tier share: a web server on a migrated SQLite database, a certificate."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pymysql.connections import Connection

from tests.integration.webservice import Service, running, some_user
from tests.support.certificates import own_certificate
from tests.support.processes import BIN, clean_environment

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module", autouse=True)
def _tls_context_of_mysql() -> Iterator[None]:
    """Have PyMySQL make one TLS context a module: it takes 30 ms, and each test would make some.

    tests/service, which this does not reach, tests that connections of the service share one.
    """
    usual = Connection._create_ssl_ctx
    context = cache(lambda: usual(None, {}))

    def shared(connection: Connection, options: Any) -> Any:
        return usual(connection, options) if options else context()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, "_create_ssl_ctx", shared)
        yield


@pytest.fixture(scope="session")
def environment_in() -> Callable[[Path], dict[str, str]]:
    """Return what configures a service that keeps everything in one folder."""

    def environment(folder: Path) -> dict[str, str]:
        (folder / "queue").mkdir(parents=True, exist_ok=True)
        return {
            "NOTIFICATIONS_CONFIG": str(folder / "config.ini"),
            "NOTIFICATIONS_CPCONFIG": str(folder / "cpconfig.ini"),
            "PEEWEE_URL": f"sqliteext:///{folder / 'db.sqlite3'}",
            "BROKER_URL": f"filesystem://localhost{folder / 'queue'}",
        }

    return environment


@pytest.fixture(scope="session")
def run() -> Run:
    """Return a function that runs an installed command to its end."""

    def to_its_end(
        environment: Mapping[str, str], *command: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / command[0], *command[1:]],
            env={**clean_environment(), **environment},
            cwd=Path(environment["NOTIFICATIONS_CONFIG"]).parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return to_its_end


@pytest.fixture(scope="session")
def migrated(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], dict[str, str]],
    run: Run,
) -> Path:
    """Return the file of a migrated SQLite database, for tests to copy."""
    environment = environment_in(tmp_path_factory.mktemp("migrated"))
    synced = run(environment, "pacifica-notifications-cmd", "dbsync")
    assert (synced.returncode, synced.stdout, synced.stderr) == (0, "", "")
    return Path(environment["NOTIFICATIONS_CONFIG"]).parent / "db.sqlite3"


@pytest.fixture
def prepared(
    tmp_path: Path, environment_in: Callable[[Path], dict[str, str]], migrated: Path
) -> dict[str, str]:
    """Return the environment of a service that has a migrated database of its own."""
    environment = environment_in(tmp_path)
    (tmp_path / "db.sqlite3").write_bytes(migrated.read_bytes())
    return environment


@pytest.fixture(scope="session")
def service(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], dict[str, str]],
    migrated: Path,
) -> Iterator[Service]:
    """Run one web server for all tests that ask for it."""
    folder = tmp_path_factory.mktemp("service")
    environment = environment_in(folder)
    (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
    with running(environment, folder) as shared:
        yield shared


@pytest.fixture
def user() -> str:
    """Name a user who has no subscriptions yet."""
    return some_user()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a file with a certificate for this machine, and its key."""
    return own_certificate(tmp_path_factory.mktemp("tls"))
