"""The work folder: one command at a time, and notes that outlive it."""

import os
from pathlib import Path
from uuid import uuid4

import pytest

from pacifica.notifications.consumer.workfolder import WorkFolder
from pacifica.notifications.errors import ConsumerError


def test_locked_keeps_others_out_until_its_end(tmp_path: Path) -> None:
    first, second = WorkFolder(tmp_path / "w"), WorkFolder(tmp_path / "w")
    with (
        first.locked(),
        pytest.raises(ConsumerError, match="another consumer is running in"),
        second.locked(),
    ):
        pass
    with second.locked():
        pass


def test_locked_names_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ConsumerError, match=r"file/w cannot be used: (Not a directory|File exists)"),
        WorkFolder(tmp_path / "file" / "w").locked(),
    ):
        pass


def test_note_adds_to_what_is_noted_and_takes_back(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path)
    assert work.noted() == {}
    work.note(a=1, b=[2])
    work.note(a=None, c={"d": "é"})
    assert WorkFolder(tmp_path).noted() == {"b": [2], "c": {"d": "é"}}
    work.forget()
    work.forget()
    assert work.noted() == {}


@pytest.mark.parametrize("content", ["", "[1]", "{", "\0"])
def test_noted_takes_a_broken_note_for_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "note.json").write_text(content)
    assert WorkFolder(tmp_path).noted() == {}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_notes_and_runs_are_for_their_owner_alone(tmp_path: Path) -> None:
    work = WorkFolder(tmp_path / "w")
    with work.locked():
        work.note(token="secret")  # noqa: S106
        work.run(uuid4()).create(b"{}")
    for path in (work.path / "note.json", work.runs):
        assert path.stat().st_mode & 0o077 == 0


def test_run_folder_holds_the_notification_as_it_came(tmp_path: Path) -> None:
    run = WorkFolder(tmp_path).run(uuid4())
    run.create(b'{"a":\t"\xc3\xa9"}')
    assert run.notification.read_bytes() == b'{"a":\t"\xc3\xa9"}'
    assert (run.destination / "uploads").is_dir()
    run.remove()
    assert not run.path.exists()
