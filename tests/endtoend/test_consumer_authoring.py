"""What authors of consumers have: a folder to begin from, its archive, a run without others."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import BIN, Program

COMMAND = BIN / "pacifica-notifications-consumer"
CAPTURES = Path(__file__).parents[1] / "captures"
JSONPATH = '$[?(@["eventType"] = "org.pacifica.metadata.ingest")]'
WORKS = """
import pathlib, sys
src, dst = map(pathlib.Path, sys.argv[1:])
(dst / "uploads" / "made.txt").write_text("made")
print((src / "notification.json").stat().st_size, "bytes")
"""


def call(folder: Path, *arguments: str | Path, status: int = 0) -> list[str]:
    """Run the command in a folder and return its lines."""
    with Program([COMMAND, *arguments], {}, folder) as program:
        ended = program.wait(120)
        assert ended == status, program.output
        return program.lines


def written(folder: Path, main: str = WORKS, jsonpath: str = JSONPATH) -> Path:
    """Write a consumer's folder."""
    folder.mkdir()
    (folder / "__main__.py").write_text(main)
    (folder / "jsonpath2.txt").write_text(jsonpath)
    return folder


def test_new_folder_can_be_zipped_as_it_is(tmp_path: Path) -> None:
    assert call(tmp_path, "new", "mine")[0].startswith("mine is written")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "__main__.py",
        "jsonpath2.txt",
        "requirements.txt",
    }
    assert call(tmp_path, "zip", "mine", "mine.zip") == ["mine.zip is written"]
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        assert len(archive.namelist()) == 3
    compile((tmp_path / "mine" / "__main__.py").read_text(), "__main__.py", "exec")


def test_new_leaves_a_folder_alone_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert call(tmp_path, "new", "mine", status=1) == ["mine: File exists"]


def test_zip_leaves_out_what_nobody_needs_and_is_the_same_each_time(tmp_path: Path) -> None:
    folder = written(tmp_path / "mine")
    for name in (".git/config", "__pycache__/x.pyc", "sub/carried.txt", ".hidden"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    (folder / "link").symlink_to("/etc/hostname")
    call(tmp_path, "zip", "mine", "first.zip")
    call(tmp_path, "zip", "mine", "second.zip")
    with zipfile.ZipFile(tmp_path / "first.zip") as archive:
        assert archive.namelist() == ["__main__.py", "jsonpath2.txt", "sub/carried.txt"]
    assert (tmp_path / "first.zip").read_bytes() == (tmp_path / "second.zip").read_bytes()


def test_zip_says_what_a_start_would_refuse_and_leaves_no_archive(tmp_path: Path) -> None:
    written(tmp_path / "mine", jsonpath="$[")
    (line,) = call(tmp_path, "zip", "mine", status=1)
    assert line.startswith("jsonpath2.txt: ")
    assert not (tmp_path / "consumer.zip").exists()


def test_try_runs_an_archive_once_and_shows_what_came_of_it(tmp_path: Path) -> None:
    written(tmp_path / "mine")
    call(tmp_path, "zip", "mine")
    event = CAPTURES / "ingest.json"
    lines = call(tmp_path, "try", "consumer.zip", event)
    assert lines[:3] == ["extract the archive", "create the environment", "run the entry point"]
    assert lines[3] == f"{event.stat().st_size} bytes"
    assert lines[4].startswith("the entry point ended after ")
    assert lines[4].endswith(" s: exit status 0")
    assert "dst/uploads/made.txt: 4 bytes" in lines
    assert not (tmp_path / "tried" / "environment").exists()
    assert not (tmp_path / "tried" / "archive").exists()
    assert call(tmp_path, "try", "consumer.zip", event, status=1)[0].startswith("tried is there")


def test_try_ends_with_1_when_the_entry_point_fails(tmp_path: Path) -> None:
    written(tmp_path / "mine", main="raise SystemExit('no luck')")
    call(tmp_path, "zip", "mine")
    lines = call(tmp_path, "try", "consumer.zip", CAPTURES / "ingest.json", status=1)
    assert "no luck" in lines
    assert any(line.endswith(" s: exit status 1") for line in lines)


def test_try_says_when_the_jsonpath_finds_nothing(tmp_path: Path) -> None:
    written(tmp_path / "mine")
    call(tmp_path, "zip", "mine")
    (tmp_path / "event.json").write_text(json.dumps({"eventType": "other"}))
    lines = call(tmp_path, "try", "consumer.zip", "event.json")
    assert lines[-1] == "the JSONPath finds nothing in this event: the entry point would not be run"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[]", "event.json is not a JSON object"),
        ("{", "event.json is not JSON"),
        (None, "event.json: "),
    ],
    ids=str,
)
def test_try_names_an_event_that_cannot_be_used(
    tmp_path: Path, content: str | None, line: str
) -> None:
    if content is not None:
        (tmp_path / "event.json").write_text(content)
    (said,) = call(tmp_path, "try", "consumer.zip", "event.json", status=1)
    assert said.startswith(line)
