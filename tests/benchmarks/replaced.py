"""The service that this one replaces, version 0.5.2, run by its documented commands.

It is installed from PyPI into a virtual environment of its own, with the newest releases of what it
depends on that it still works with, and kept in a cache.
"""

import os
import subprocess
import venv
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.programs import logged_worker
from tests.support import brokers, databases
from tests.support.deployments import Deployment, Service
from tests.support.processes import Program, clean_environment
from tests.support.servers import free_port

CACHE = Path(
    os.environ.get("BENCHMARK_CACHE")
    or Path.home() / ".cache" / "pacifica-notifications-benchmarks"
)
VERSION = "0.5.2"
_INSTALLATION = 600.0
_REQUIREMENTS = (
    ["--no-deps", "pacifica-namespace==0.0.2", f"pacifica-notifications=={VERSION}"],
    [
        "peewee==3.13.3",
        "CherryPy==18.10.0",
        "cheroot==11.1.2",
        "psycopg2-binary==2.9.13",
        "requests==2.34.2",
        "python-dateutil==2.9.0.post0",
        "pytz==2026.6",
        "setuptools<81",
        "celery==5.7.0",
        "kombu==5.7.0",
        "redis==8.1.0",
        "packaging==26.3",
        "jsonschema==4.26.0",
        "six==1.17.0",
        "PyMySQL==1.2.4",
        "cloudevents-python==0.2.1",
        "jsonpath2==0.4.5",
        "backports.functools_lru_cache==2.0.0",
    ],
)
_CHERRYPY = """
[global]
log.screen: True
log.access_file: 'access.log'
log.error_file: 'error.log'
server.socket_host: '127.0.0.1'
server.socket_port: {port}

[/]
request.dispatch: cherrypy.dispatch.MethodDispatcher()
tools.response_headers.on: True
tools.response_headers.headers: [('Content-Type', 'application/json')]
"""


@dataclass(frozen=True)
class Replaced(Service):
    """0.5.2 with a database and a broker of its own, used as the present service is."""

    bin: Path

    @contextmanager
    def web_server(self) -> Iterator[Program]:
        configuration = self.folder / "cherrypy.conf"
        configuration.write_text(_CHERRYPY.format(port=self.port))
        command: list[str | Path] = [
            self.bin / "pacifica-notifications",
            "--cpconfig",
            configuration,
        ]
        with Program(command, self.environment, self.folder) as program:
            program.wait_for_line("Bus STARTED")
            yield program

    def worker(self, **options: Any) -> AbstractContextManager[Program]:
        return logged_worker(self.bin, self.environment, self.folder, **options)

    def command(self, *arguments: str) -> str:
        command: list[str | Path] = [self.bin / "pacifica-notifications-cmd", *arguments]
        with Program(command, self.environment, self.folder) as program:
            if program.wait() != 0:
                raise SystemExit(f"{VERSION}: {arguments} failed:\n{program.output[-2000:]}")
            return program.output


@contextmanager
def prepared(
    deployment: Deployment, folder: Path, cache: Path, **settings: str
) -> Iterator[Replaced]:
    """Give 0.5.2 on a migrated database, of which no program runs yet."""
    bin_folder = installed(cache / VERSION) / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    with brokers.unused(deployment.broker, folder) as broker:
        database = databases.unused_url(deployment.engine, folder)
        databases.create(database)
        try:
            environment = {
                "PYTHONPATH": "",  # would bring the present service in
                "PEEWEE_URL": database,
                "BROKER_URL": broker,
                "BACKEND_URL": "rpc://",
                **settings,
            }
            service = Replaced(folder, free_port(), environment, bin_folder)
            service.command("dbsync")
            yield service
        finally:
            databases.drop(database)


def installed(folder: Path) -> Path:
    """Install 0.5.2 into a virtual environment, unless it is there."""
    complete = folder / "complete"
    if not complete.exists():
        venv.create(folder, with_pip=True, clear=folder.exists())
        for requirements in _REQUIREMENTS:
            result = subprocess.run(
                [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *requirements],
                env=clean_environment(),
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_INSTALLATION,
            )
            if result.returncode:
                raise SystemExit(
                    f"{VERSION} cannot be installed:\n{result.stdout.decode()[-2000:]}"
                )
        complete.touch()
    return folder
