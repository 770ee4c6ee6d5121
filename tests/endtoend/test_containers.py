"""The image and compose files, step by step on this machine: no engine for containers is needed.

What the image file copies and runs is copied and run in a folder; what the compose file starts is
started from there, with the servers of this machine in place of those in containers.
"""

import base64
import http.client
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import brokers, databases, environments
from tests.support.deployments import EVENT
from tests.support.processes import Program, clean_environment
from tests.support.proxies import nginx_in_front, nginx_path
from tests.support.pythons import python
from tests.support.servers import RecordingServer, free_port
from tests.support.sharing import made_once

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "deploying"
VENV = "/opt/pacifica-notifications"
SECRET = "a secret of the proxy"  # noqa: S105
TIMEOUT = 240
# To compile all that is installed takes as long as to install it.
UNCOMPILED = {"PIP_COMPILE": "0"}

pytestmark = pytest.mark.server


@dataclass(frozen=True)
class Image:
    """What the image file leaves: where its root is, the environment and the command."""

    root: Path
    environment: dict[str, str]
    command: list[str]

    def files(self) -> dict[Path, int]:
        """Return all files with the times of their last changes (nanoseconds)."""
        return {path: path.lstat().st_mtime_ns for path in self.root.rglob("*")}


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = made_once(tmp_path_factory, "image", build)
    return Image(folder / "root", *json.loads((folder / "image.json").read_text()))


def build(folder: Path) -> None:
    """Do what the image file says, below the folder `root`; write down what an image remembers."""
    root, base = folder / "root", folder / "base"
    root.mkdir()
    base.mkdir()
    (base / "python").symlink_to(python("3.13"))
    path, workdir, command = os.environ["PATH"], root, [""]
    environment = {"PATH": f"{base}:{path}"}
    for instruction, arguments in instructions():
        text = arguments.replace(VENV, f"{root}{VENV}")
        if instruction == "FROM":
            assert re.match(r"python:3\.\d+-slim-\w+", arguments)
        elif instruction == "WORKDIR":
            workdir = Path(text if VENV in arguments else f"{root}{text}")
            workdir.mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY" and arguments == ". .":
            copy_context(workdir)
        elif instruction == "COPY":
            assert arguments == f"--from=build {VENV} {VENV}"
        elif instruction == "RUN":
            ran = subprocess.run(
                ["/bin/sh", "-c", text],
                cwd=workdir,
                env={**clean_environment(), "PYTHONPATH": "", **UNCOMPILED, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIMEOUT,
            )
            assert ran.returncode == 0, ran.stdout
        elif instruction == "ENV":
            environment = dict(each.split("=", 1) for each in shlex.split(text))
            environment["PATH"] = environment["PATH"].replace("$PATH", path)
        elif instruction == "CMD":
            command = json.loads(arguments)
        else:
            assert (instruction, arguments) in (("USER", "10001:10001"), ("EXPOSE", "8070"))
    remembered = {"PYTHONPATH": "", **environment}, command
    (folder / "image.json").write_text(json.dumps(remembered))


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", "", (FOLDER / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def copy_context(folder: Path) -> None:
    """Copy what the file beside the image file lets into the build."""
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    for name in (line[1:] for line in ignored if line.startswith("!")):
        if (ROOT / name).is_dir():
            caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=caches)
        else:
            shutil.copy(ROOT / name, folder / name)


@dataclass(frozen=True)
class Started:
    """The services of the compose file: where users and Pacifica Metadata reach them."""

    users: int
    metadata: int
    image: Image
    before: dict[Path, int]


@pytest.fixture(scope="module")
def started(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    if nginx_path() is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent("nginx is not installed")
    folder = tmp_path_factory.mktemp("compose")
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    before = image.files()
    web, users, metadata = free_port(), free_port(), free_port()
    database = databases.unused_url("postgresql", folder)
    databases.create(database)
    try:
        with (
            brokers.unused("amqp", folder) as broker,
            RecordingServer(lambda _: (200, {}, b"{}")) as policy,
        ):
            given = {"PEEWEE_URL": database, "BROKER_URL": broker, "POLICY_URL": policy.url}
            given |= {"NOTIFICATIONS_PROXY_SECRET": SECRET, "SECURITY_KEY": ""}

            def run(name: str, *more: str) -> Program:
                told = {**services[name]["environment"], **given}
                command = [*services[name].get("command", image.command), *more]
                return program(image, command, told, folder)

            with run("migration") as migration:
                assert migration.wait(60) == 0, migration.output
            passwords = folder / "users.htpasswd"
            passwords.write_text("alice:{PLAIN}sesame\n")
            template = (FOLDER / "nginx.conf.template").read_text()
            for ours, real in (
                ("${PROXY_SECRET}", SECRET),
                ("http://web:8070", f"http://127.0.0.1:{web}"),
                ("listen 8080;", f"listen 127.0.0.1:{users};"),
                ("listen 8071;", f"listen 127.0.0.1:{metadata};"),
                ("/run/secrets/users", str(passwords)),
            ):
                assert ours in template
                template = template.replace(ours, real)
            with (
                run("web", "--port", str(web)) as server,
                run("worker") as worker,
                nginx_in_front(policy.url, folder / "nginx", free_port(), servers=template),
            ):
                server.wait_for_line("Bus STARTED")
                worker.wait_for_line(" ready.")
                check = services["web"]["healthcheck"]["test"]
                assert check[0] == "CMD"
                healthy = [part.replace("8070", str(web)) for part in check[1:]]
                with program(image, healthy, {}, folder) as checking:
                    assert checking.wait() == 0, checking.output
                yield Started(users, metadata, image, before)
                assert "Traceback" not in server.output + worker.output
    finally:
        databases.drop(database)


def test_bill_of_materials_names_all_that_is_installed(image: Image, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "deploying.rst").read_text(encoding="utf-8")
    (documented,) = re.findall(r"^   \$ (cyclonedx-py .*)$", page, re.MULTILINE)
    command = shlex.split(documented.replace(VENV, f"{image.root}{VENV}"))
    # Elsewhere, as the page allows: a library that comes with it would slow each start down here.
    programs = environments.install(tmp_path / "tool", ("cyclonedx-bom>=7",))
    # The tool's check of its own output takes ten times as long as the output.
    with Program([programs / command[0], *command[1:], "--no-validate"], {}, tmp_path) as tool:
        assert tool.wait(60) == 0, tool.output
    bill = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    assert bill["bomFormat"] == "CycloneDX"
    (libraries,) = Path(f"{image.root}{VENV}").glob("lib/python3.*/site-packages")
    installed = {each.name for each in distributions(path=[str(libraries)])}
    assert "pacifica-notifications" in installed
    assert {each["name"] for each in bill["components"]} == installed


def program(image: Image, command: list[str], told: dict[str, Any], folder: Path) -> Program:
    """Start a command of the image, found in its own PATH."""
    found = shutil.which(command[0], path=image.environment["PATH"])
    assert found is not None
    assert found.startswith(str(image.root))
    told = {**image.environment, "PYTHONPYCACHEPREFIX": str(folder / "compiled"), **told}
    environment = {name: str(value) for name, value in told.items()}
    return Program([found, *command[1:]], environment, folder)


def call(
    port: int, method: str, path: str, body: bytes | None = None, login: str = ""
) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json", "Http-Remote-User": "mallory"}
    if login:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def test_event_arrives_through_all_services(started: Started) -> None:
    with RecordingServer() as target:
        body = {"name": "all", "jsonpath": "$.data", "target_url": target.url}
        wanted = json.dumps(body).encode()
        status, answer = call(started.users, "POST", "/eventmatch", wanted, "alice:sesame")
        assert (status, json.loads(answer).get("user")) == (200, "alice"), answer
        assert call(started.metadata, "POST", "/receive", EVENT)[0] == 200
        (received,) = target.wait_for(1, timeout=20)
        assert json.loads(received.body) == json.loads(EVENT)


def test_each_port_is_for_its_own_callers(started: Started) -> None:
    assert call(started.users, "GET", "/eventmatch")[0] == 401
    assert call(started.users, "GET", "/eventmatch", login="alice:wrong")[0] == 401
    assert call(started.users, "POST", "/receive", EVENT, "alice:sesame")[0] == 404
    assert call(started.metadata, "GET", "/eventmatch", login="alice:sesame")[0] == 404


def test_services_write_nothing_into_their_image_or_home(started: Started) -> None:
    assert started.image.files() == started.before
    assert not Path(started.image.environment["HOME"]).exists()
