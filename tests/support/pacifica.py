"""Pacifica itself: Metadata, Policy, UniqueID, the Archive Interface, Ingest and Cart.

They are installed into an environment of their own, since they need other versions of libraries
than this project, and which is kept for the next time.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from uuid import uuid4

import pytest

from tests.support import brokers, databases, environments
from tests.support.environments import ELSEWHERE
from tests.support.processes import Program
from tests.support.servers import free_port

if sys.platform != "win32":
    import fcntl

VARIABLE = "TEST_PACIFICA_PEERS"
#: What runs on Python 3.11 together. Metadata imports what peewee 4 has no more, and what it and
#: Ingest do not say that they need is here, too.
LIBRARIES = (
    *("backports.functools_lru_cache==2.0.0", "celery==5.7.0", "CherryPy==18.10.0"),
    *("cheroot==11.1.2", "cloudevents-python==0.2.1", "jsonpath2==0.4.5", "jsonschema==4.26.0"),
    *("packaging==26.3", "peewee==3.13.3", "psutil==7.2.2", "psycopg2-binary==2.9.13"),
    *("PyMySQL==1.2.4", "python-dateutil==2.9.0.post0", "pytz==2026.6", "PyYAML==6.0.3"),
    *("redis==8.1.0", "requests==2.34.2", "setuptools<81", "six==1.17.0", "tqdm==4.70.1"),
)
#: Without what they depend on: Metadata asks for psycopg2, which would be compiled.
SERVICES = (
    *("pacifica-archiveinterface==0.4.2", "pacifica-cartd==0.7.0", "pacifica-ingest==0.4.1"),
    *("pacifica-metadata==0.13.0", "pacifica-namespace==0.0.2", "pacifica-policy==0.8.3"),
    *("pacifica-uniqueid==0.5.1",),
)
ANSWER = 30
STARTING = 60
CHERRYPY = """[global]
log.screen: True
engine.autoreload.on: False
server.max_request_body_size: 0

[/]
request.dispatch: cherrypy.dispatch.MethodDispatcher()
tools.response_headers.on: True
tools.response_headers.headers: [('Content-Type', 'application/json')]
"""
USER, PROJECT, INSTRUMENT = 10, "1236é", 54
#: The group of Policy's administrators.
ADMINS = 0


@dataclass(frozen=True)
class Pacifica:
    """Where the services are that a transfer needs."""

    cart: str
    ingest: str
    policy: str


@dataclass(frozen=True)
class Metadata:
    """Metadata: where it is, the URL of its database, and the file that it reads for each event."""

    url: str
    database: str
    settings: Path

    def notify(self, url: str | None) -> None:
        """Have it send its events to a URL, or none."""
        self.settings.write_text(f"[notifications]\nurl = {url}\ndisabled = {url is None}\n")


@contextmanager
def running(folder: Path, notify: str) -> Iterator[Pacifica]:
    """Run all services for the block; Metadata sends its events to `notify`.

    Skips the test where TEST_PACIFICA_PEERS names no folder to install them in; where CI is 'true'
    that is a failure.
    """
    with _starter(folder) as starter:
        yield starter.start(notify)


@contextmanager
def running_metadata(folder: Path) -> Iterator[tuple[Metadata, str]]:
    """Run Metadata, which sends no event yet, and Policy, whose URL is given beside it.

    Skips the test as `running` does.
    """
    with _starter(folder) as starter:
        metadata = starter.metadata()
        yield metadata, starter.policy(metadata.url)


@contextmanager
def _starter(folder: Path) -> Iterator["_Starter"]:
    kept = os.environ.get(VARIABLE)
    if not kept:
        absent = f"{VARIABLE} names no folder for Pacifica's services"
        if os.environ.get("CI") == "true":
            pytest.fail(absent)
        pytest.skip(absent)
    programs = _installed(Path(kept))
    with ExitStack() as stack:
        yield _Starter(programs, folder, stack)


class _Starter:
    def __init__(self, programs: Path, folder: Path, stack: ExitStack) -> None:
        self._programs = programs
        self._folder = folder
        self._stack = stack
        self._cherrypy = folder / "cherrypy.ini"
        self._cherrypy.write_text(CHERRYPY)

    def start(self, notify: str) -> Pacifica:
        described = self.metadata()
        described.notify(notify)
        metadata = described.url
        policy = self.policy(metadata)
        uniqueid = self._serve("uniqueid", self._database("uniqueid"))
        archive = self._serve(
            "archiveinterface",
            {},
            *("-t", "posix", "--prefix", str(self._made("archive"))),
            option="--cherrypy-config",
        )
        ingest = self._with_worker(
            "ingest",
            {
                "UNIQUEID_URL": uniqueid,
                "POLICY_INGEST_URL": f"{policy}/ingest",
                "METADATA_INGEST_URL": f"{metadata}/ingest",
                "ARCHIVEINTERFACE_URL": archive,
            },
            option="--cp-config",
        )
        cart = self._with_worker("cartd", {"ARCHIVE_INTERFACE_URL": f"{archive}/"})
        return Pacifica(cart, ingest, policy)

    def metadata(self) -> Metadata:
        """Start Metadata without events, and describe to it who uploads what from where."""
        database = self._database("metadata")
        metadata = Metadata("", database["PEEWEE_URL"], self._folder / "metadata.ini")
        metadata.notify(None)
        environment = {**database, "METADATA_CONFIG": str(metadata.settings)}
        metadata = replace(metadata, url=self._serve("metadata", environment))
        _describe(metadata.url)
        return metadata

    def policy(self, metadata: str) -> str:
        """Start Policy, and return its URL."""
        environment = {"METADATA_URL": metadata, "STATUS_URL": f"{metadata}/groups"}
        return self._serve("policy", {**environment, "CACHE_SIZE": "0"}, option="-c")

    def _with_worker(
        self, name: str, environment: dict[str, str], option: str = "--cpconfig"
    ) -> str:
        broker = self._stack.enter_context(brokers.unused("redis", self._folder))
        environment |= self._database(name)
        environment |= {"BROKER_URL": broker, "VOLUME_PATH": f"{self._made(name)}/"}
        url = self._serve(name, environment, option=option)
        command = [self._programs / "celery", "-A", f"pacifica.{name}.tasks", "worker"]
        options = ["-P", "solo", "-l", "INFO", "-n", f"{uuid4().hex}@%h"]
        worker = self._program([*command, *options], environment)
        self._stack.enter_context(worker)
        worker.wait_for_line(" ready.", STARTING)
        return url

    def _database(self, name: str) -> dict[str, str]:
        url = databases.unused_url("postgresql", self._folder)
        self._stack.callback(databases.drop, url)
        databases.create(url)
        environment = {"PEEWEE_URL": url}
        command = [self._programs / f"pacifica-{name}-cmd", "dbsync"]
        with self._program(command, environment) as program:
            assert program.wait(STARTING) == 0, program.output
        return environment

    def _serve(
        self, name: str, environment: dict[str, str], *more: str, option: str = "--cpconfig"
    ) -> str:
        port = free_port()
        command = [self._programs / f"pacifica-{name}", "-a", "127.0.0.1", "-p", str(port)]
        program = self._program([*command, option, self._cherrypy, *more], environment)
        self._stack.enter_context(program).wait_for_line("Bus STARTED", STARTING)
        return f"http://127.0.0.1:{port}"

    def _program(self, command: Sequence[str | Path], environment: dict[str, str]) -> Program:
        return Program(command, {**environment, **ELSEWHERE}, self._folder)

    def _made(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder


def _installed(folder: Path) -> Path:
    """Return where the programs are, which are installed if they are not there yet."""
    programs, stamp = folder / "bin", folder / "installed.json"
    wanted = json.dumps([LIBRARIES, SERVICES])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run beside each other
        if not stamp.exists() or stamp.read_text() != wanted:
            environments.install(folder, LIBRARIES, ("--no-deps", *SERVICES))
            stamp.write_text(wanted)
    return programs


def add_user(metadata: str, number: int, name: str, *, is_admin: bool = False) -> None:
    """Add somebody who is in no project, and in Policy's group of administrators if asked for."""
    user = {"_id": number, "network_id": name, "first_name": "F", "last_name": "L"}
    _put(metadata, "users", {**user, "email_address": f"{name}@example.com"})
    if is_admin:
        _put(metadata, "groups", {"_id": ADMINS, "name": "admin"})
        _put(metadata, "user_group", {"user": number, "group": ADMINS})


def _describe(metadata: str) -> None:
    """Let a user of an instrument upload to a project."""
    user = {"_id": USER, "network_id": "dmlb2001", "first_name": "D", "last_name": "B"}
    _put(metadata, "users", {**user, "email_address": "d@example.com"})
    when = {"submitted_date": "2026-01-01T00:00:00", "accepted_date": "2026-01-01"}
    project = {"_id": PROJECT, "title": "A project", "abstract": "", "science_theme": "general"}
    _put(metadata, "projects", {**project, **when, "actual_start_date": "2026-01-01"})
    instrument = {"_id": INSTRUMENT, "name": "NMR", "name_short": "NMR", "display_name": "NMR"}
    _put(metadata, "instruments", {**instrument, "active": True})
    _put(metadata, "groups", {"_id": 1001, "name": "nmrs"})
    _put(metadata, "instrument_group", {"instrument": INSTRUMENT, "group": 1001})
    (member,) = _call(f"{metadata}/relationships?{urlencode({'name': 'member_of'})}")
    relation = {"project": PROJECT, "relationship": member["uuid"]}
    for table, column, value in (
        ("project_instrument", "instrument", INSTRUMENT),
        ("project_user", "user", USER),
    ):
        _put(metadata, table, {**relation, column: value, "uuid": str(uuid4())})


def _put(metadata: str, table: str, row: dict[str, Any]) -> None:
    _call(f"{metadata}/{table}", "PUT", json.dumps(row).encode())


def _call(url: str, method: str = "GET", body: bytes | None = None) -> Any:
    request = Request(url, body, {"Content-Type": "application/json"}, method=method)  # noqa: S310 our own
    deadline = time.monotonic() + ANSWER
    while True:
        try:
            with urlopen(request, timeout=ANSWER) as answer:  # noqa: S310
                text = answer.read()
            return json.loads(text) if text else None
        except URLError as error:
            # The line that says that a server has started comes just before it answers.
            if not isinstance(error.reason, ConnectionError) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
