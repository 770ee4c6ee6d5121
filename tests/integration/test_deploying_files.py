"""The files that are there to deploy the service, as far as their own tools can check them."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import BIN, clean_environment

FOLDER = Path(__file__).parents[2] / "docs" / "deploying"
UNITS = sorted((FOLDER / "systemd").iterdir())
SECRETS = {"DATABASE_PASSWORD": "d", "BROKER_PASSWORD": "b", "PROXY_SECRET": "p"}
SITE = {**SECRETS, "POLICY_URL": "http://policy.example.org:8181"}
#: What systemd-analyze calls OK ends at 5; what its own services have is about 2.
EXPOSURE = 2.0


def run(
    command: list[str | Path], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean_environment(), **(environment or {})},
    )


def tool(name: str) -> str:
    """Return a program that comes with the tests, or with the system; skip without it."""
    found = shutil.which(name, path=f"{BIN}:{os.environ['PATH']}")
    if found is None:
        absent = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        absent(f"{name} is not installed")
    return found


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """Return the services of the compose file as Docker Compose reads it."""
    command = [tool("docker-compose"), "-f", FOLDER / "compose.yaml", "config", "--format", "json"]
    read = run(command, SITE)
    assert read.stderr == ""  # the package's own exit status is always 0
    return json.loads(read.stdout)["services"]


def test_image_file_has_no_fault_that_hadolint_knows() -> None:
    checked = run([tool("hadolint"), FOLDER / "Dockerfile"])
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize("missing", SITE)
def test_compose_file_is_refused_when_what_it_needs_is_not_given(missing: str) -> None:
    given = {name: value for name, value in SITE.items() if name != missing}
    read = run([tool("docker-compose"), "-f", FOLDER / "compose.yaml", "config"], given)
    assert read.stdout == ""
    assert f"required variable {missing} is missing" in read.stderr


def test_compose_file_gives_nobody_more_than_needed(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name in ("web", "worker", "migration"):
            assert service["read_only"]
            assert service["build"]["dockerfile"] == "docs/deploying/Dockerfile"
        if name not in ("database", "broker"):  # they change their user when they start
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
        assert bool(service.get("ports")) == (name == "proxy")
    receive = [port for port in services["proxy"]["ports"] if port["target"] == 8071]
    assert [port["host_ip"] for port in receive] == ["127.0.0.1"]


def test_secrets_reach_those_that_need_them_only(services: dict[str, Any]) -> None:
    having = {
        secret: {name for name, each in services.items() if value in tokens(each)}
        for secret, value in SECRETS.items()
    }
    ours = {"web", "worker", "migration"}
    assert having == {
        "DATABASE_PASSWORD": {"database", *ours},
        "BROKER_PASSWORD": {"broker", *ours},
        "PROXY_SECRET": {"proxy", *ours},
    }


def tokens(service: dict[str, Any]) -> set[str]:
    """Return the values of a service's environment, and the parts of those that are URLs."""
    values = (service.get("environment") or {}).values()
    return {part for value in values for part in str(value).replace("@", ":").split(":")}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_is_understood_and_gives_few_rights(unit: Path, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    copy = tmp_path / unit.name.replace("@.", "@1.")
    # systemd looks whether the programs are there.
    copy.write_text(unit.read_text().replace("/opt/pacifica-notifications/bin", str(BIN)))
    verified = run([analyze, "verify", copy])
    assert (verified.returncode, verified.stderr) == (0, "")
    limit = str(int(EXPOSURE * 10))
    rated = run([analyze, "security", "--offline=true", f"--threshold={limit}", copy])
    assert rated.returncode == 0, rated.stdout


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_is_watched_and_names_its_worker(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    assert {"Type=notify", "WatchdogSec=60"} <= set(lines)
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    assert ("@." in unit.name) == (" --hostname %i@%%h " in start)
