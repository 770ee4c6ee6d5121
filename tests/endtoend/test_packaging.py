"""What is published: the source distribution builds itself, and its wheel runs once installed."""

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import clean_environment
from tests.support.sharing import made_once

ROOT = Path(__file__).parents[2]
TIMEOUT = 240
WITHOUT_LICENCE = "Your package does neither have a license field nor any license classifiers."


@dataclass(frozen=True)
class Published:
    """A source distribution of this tree, and what was built from it alone."""

    sdist: Path
    again: Path
    wheel: Path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    folder = made_once(tmp_path_factory, "published", publish)
    (sdist,) = folder.glob("*.tar.gz")
    (again,) = (folder / "again").glob("*.tar.gz")
    (wheel,) = (folder / "again").glob("*.whl")
    return Published(sdist, again, wheel)


def publish(folder: Path) -> None:
    python("-m", "build", "--sdist", "--outdir", str(folder), str(ROOT))
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    python("-m", "build", "--outdir", str(folder / "again"), str(source))


def python(*arguments: str) -> str:
    return output(sys.executable, *arguments)


def output(*command: str | Path) -> str:
    """Return all that a command prints; fail where its exit status is not 0."""
    environment = {k: v for k, v in clean_environment().items() if k != "PYTHONPATH"}
    ended = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        env={**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "NO_COLOR": "1"},
        cwd=Path(sys.prefix),
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def test_sdist_builds_itself_and_loses_nothing(published: Published) -> None:
    with tarfile.open(published.sdist) as first, tarfile.open(published.again) as second:
        names = set(first.getnames())
        assert set(second.getnames()) == names
    top = published.sdist.name.removesuffix(".tar.gz")
    tracked = subprocess.run(
        ["git", "ls-files"],  # noqa: S607
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if tracked.returncode == 0:  # a clone, and not an unpacked archive
        files = {f"{top}/{name}" for name in tracked.stdout.splitlines() if name != ".gitignore"}
        assert files - names == set()


def test_wheel_has_each_file_of_the_package_once(published: Published) -> None:
    with zipfile.ZipFile(published.wheel) as archive:
        names = set(archive.namelist())
    package = ROOT / "pacifica"
    author = package / "notifications" / "consumer" / "author"
    in_package = {
        path.relative_to(
            author if author / "pacifica_notifications_consumer" in path.parents else ROOT
        ).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {name for name in names if ".dist-info/" not in name} == in_package
    assert "pacifica/notifications/py.typed" in names


def test_checkers_of_distributions_have_nothing_to_say_but_the_licence(
    published: Published,
) -> None:
    said = python("-m", "twine", "check", "--strict", str(published.again), str(published.wheel))
    assert said.count("PASSED") == 2
    assert output(tool("check-wheel-contents"), published.wheel).endswith(": OK\n")
    rated = output(tool("pyroma"), published.sdist).split("-" * 30 + "\n")
    assert rated[2:-1] == [f"{WITHOUT_LICENCE}\n", "Final rating: 9/10\nCottage Cheese\n"]


def tool(name: str) -> Path:
    return Path(sys.executable).parent / name


def test_installed_wheel_shows_a_delivery(published: Published, tmp_path: Path) -> None:
    output(sys.executable, "-m", "virtualenv", "-q", tmp_path / "venv")
    made = tmp_path / "venv" / "bin"
    # What the wheel needs is here already. A line in a .pth adds one folder, not what its own
    # .pth files add: this tree, which is installed as editable, stays out.
    (site_packages(made) / "needed.pth").write_text(sysconfig.get_path("purelib"))
    pip = [made / "python", "-m", "pip", "install", "-q", "--no-compile"]
    output(*pip, "--no-deps", published.wheel)
    module = "import pacifica.notifications.app as app; print(app.__file__)"
    assert output(made / "python", "-c", module).startswith(str(made.parent))
    assert "\ndelivered     {" in output(made / "pacifica-notifications-cmd", "demo")


def site_packages(made: Path) -> Path:
    return Path(output(made / "python", "-c", "import site; print(site.getsitepackages()[0])")[:-1])
