import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pacifica.notifications.consumer import environment
from pacifica.notifications.consumer.archive import ArchiveLimits, Extracted, extract
from pacifica.notifications.consumer.environment import Environment, create
from pacifica.notifications.consumer.program import ProgramLimits, run
from pacifica.notifications.errors import ConsumerError
from tests.support import archives

SECONDS = 60.0
NOTIFICATION = '{"eventID": "e1", "eventType": "org.pacifica.metadata.ingest", "data": [1]}'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Make one environment for all tests; its folder has a space, as people's folders do."""
    folder = tmp_path_factory.mktemp("an environment")
    return create(folder / "made", SECONDS, folder / "log")


@pytest.fixture
def made(shared: Environment, tmp_path: Path) -> Environment:
    """Give the shared environment a log of the test's own."""
    return Environment(shared.folder, SECONDS, tmp_path / "log")


@pytest.fixture
def extracted(tmp_path: Path) -> Callable[[bytes], Extracted]:
    """Return a function that extracts an archive."""

    def to_a_folder(content: bytes) -> Extracted:
        archive = tmp_path / "consumer.zip"
        archive.write_bytes(content)
        return extract(archive, tmp_path / "extracted", ArchiveLimits())

    return to_a_folder


def wheel(folder: Path, name: str) -> Path:
    """Write a wheel of one module, and return the folder."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return folder


def requirements(folder: Path, *lines: str) -> Path:
    path = folder / "requirements.txt"
    path.write_text("\n".join(["--no-index", *lines]))
    return path


def imports(made: Environment, name: str, folder: Path) -> bool:
    ended = run(
        [str(made.python), "-c", f"import {name}"],
        folder=folder,
        environment=made.variables(),
        log=folder / "imports",
        limits=ProgramLimits(seconds=SECONDS),
    )
    return ended.status == 0


def test_the_environment_s_python_is_its_own_and_has_none_of_ours(
    made: Environment, tmp_path: Path
) -> None:
    assert made.python.is_file()
    assert not imports(made, "pacifica.notifications", tmp_path)
    assert imports(made, "pip", tmp_path)


def test_an_entry_point_runs_in_the_environment_when_the_archive_is_good(
    made: Environment, tmp_path: Path, extracted: Callable[[bytes], Extracted]
) -> None:
    program = extracted(archives.good())
    source, destination = tmp_path / "src", tmp_path / "dst"
    source.mkdir()
    (destination / "uploads").mkdir(parents=True)
    (source / "notification.json").write_text(NOTIFICATION)
    made.install(program.folder / "requirements.txt", tmp_path)
    if sys.platform != "win32":
        made.init(program.folder / "init.sh", program.folder)
        assert made.log.read_text().splitlines()[-1] == "ready"
    ended = run(
        [str(made.python), "__main__.py", str(source), str(destination)],
        folder=program.folder,
        environment=made.variables(),
        log=tmp_path / "output",
        limits=ProgramLimits(seconds=SECONDS),
    )
    assert ended.reason == "exit status 0", (tmp_path / "output").read_text()
    assert (tmp_path / "output").read_text() == "event e1\n"
    assert (destination / "uploads" / "result.txt").read_text() == str(made.folder)


def test_install_finds_links_in_the_given_folder_and_in_the_user_s(
    made: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = wheel(tmp_path / "given links", "consumer_given")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel(tmp_path / "own", "consumer_own")))
    wanted = requirements(tmp_path, "consumer-given", "consumer_own==1.0")
    made.install(wanted, given)
    assert imports(made, "consumer_given, consumer_own", tmp_path)


def test_install_says_what_pip_said_last_when_there_is_no_such_requirement(
    made: Environment, extracted: Callable[[bytes], Extracted], tmp_path: Path
) -> None:
    missing = "--no-index\nconsumer-of-nothing\n"
    program = extracted(archives.consumer(more={"requirements.txt": missing}))
    with pytest.raises(ConsumerError) as failed:
        made.install(program.folder / "requirements.txt", tmp_path)
    assert str(failed.value) == (
        "pip install: exit status 1: ERROR: No matching distribution found for consumer-of-nothing"
    )


def test_install_is_not_misled_when_the_archive_has_a_module_of_pip_s_names(
    made: Environment, extracted: Callable[[bytes], Extracted], tmp_path: Path
) -> None:
    more = {"requirements.txt": "# none", "pip.py": "1/0", "json.py": "1/0"}
    program = extracted(archives.consumer(more=more))
    made.install(program.folder / "requirements.txt", tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sh")
def test_init_runs_in_its_folder_with_the_environment_s_programs_first(
    made: Environment, extracted: Callable[[bytes], Extracted]
) -> None:
    script = 'pwd\ncommand -v python\necho "$VIRTUAL_ENV"\n'
    program = extracted(archives.consumer(more={"init.sh": script}))
    made.init(program.folder / "init.sh", program.folder)
    expected = [program.folder.resolve(), made.bin / "python", made.folder]
    assert made.log.read_text().splitlines() == [str(each) for each in expected]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sh")
def test_init_s_pip_finds_links_in_the_given_folder_and_in_the_user_s(
    made: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel(tmp_path / "own", "consumer_of_user")))
    script = tmp_path / "init.sh"
    script.write_text("pip install --no-index consumer-of-init consumer-of-user\n")
    made.init(script, tmp_path, wheel(tmp_path / "given links", "consumer_of_init"))
    assert imports(made, "consumer_of_init, consumer_of_user", tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sh")
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo before; echo no licence >&2; exit 7", "exit status 7: no licence"),
        ("exit 7", "exit status 7"),
        ("echo first; printf '\\033[31mred\\033[0m\\n\\n'; exit 1", "exit status 1: [31mred [0m"),
        ("kill -9 $$", "killed by SIGKILL"),
    ],
)
def test_init_says_how_it_ended_when_it_fails(
    made: Environment, extracted: Callable[[bytes], Extracted], script: str, reason: str
) -> None:
    program = extracted(archives.consumer(more={"init.sh": script}))
    made.log.write_text("of an earlier step\n")
    with pytest.raises(ConsumerError) as failed:
        made.init(program.folder / "init.sh", program.folder)
    assert str(failed.value) == f"init.sh: {reason}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sh")
def test_init_is_ended_when_it_takes_too_long(
    made: Environment, extracted: Callable[[bytes], Extracted]
) -> None:
    program = extracted(archives.consumer(more={"init.sh": "echo waiting; sleep 600"}))
    brief = Environment(made.folder, 0.5, made.log)
    with pytest.raises(ConsumerError) as failed:
        brief.init(program.folder / "init.sh", program.folder)
    assert str(failed.value) == "init.sh: took more than 0.5 s: waiting"


def test_init_is_refused_when_the_system_is_windows(
    made: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "WINDOWS", True)
    with pytest.raises(ConsumerError) as refused:
        made.init(tmp_path / "init.sh", tmp_path)
    assert str(refused.value) == "init.sh needs a POSIX shell, which Windows does not have"


def test_the_layout_is_the_system_s(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Environment(Path("place"), SECONDS, Path("log"))
    monkeypatch.setattr(environment, "WINDOWS", False)
    assert (made.bin, made.python) == (Path("place/bin"), Path("place/bin/python"))
    monkeypatch.setattr(environment, "WINDOWS", True)
    assert (made.bin, made.python) == (Path("place/Scripts"), Path("place/Scripts/python.exe"))


def test_the_variables_put_the_environment_s_programs_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    made = Environment(Path("/place"), SECONDS, Path("log"))
    variables = made.variables()
    assert variables["PATH"] == f"{made.bin}{os.pathsep}/usr/bin"
    assert variables["VIRTUAL_ENV"] == str(Path("/place"))


def test_create_leaves_nothing_when_it_takes_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConsumerError, match=r"^virtualenv: took more than 0\.2 s"):
        create(tmp_path / "made", 0.2, tmp_path / "log")
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_create_leaves_a_folder_alone_when_it_is_there_already(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ConsumerError, match="is there already"):
        create(tmp_path, SECONDS, tmp_path / "log")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_create_says_so_when_the_log_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(ConsumerError, match="log cannot be written: "):
        create(tmp_path / "made", SECONDS, tmp_path / "log")
    assert not (tmp_path / "made").exists()
