import os
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacifica.notifications.consumer.author.pacifica_notifications_consumer.errors import (
    TransferError,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.records import (
    FileRecord,
    files_of,
)
from tests.support.pacifica_stubs import event_of, files_record

SHA1 = "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15"


def record(**changes: Any) -> dict[str, Any]:
    return {**files_record(1, "a/b/foo.txt", b""), "hashsum": SHA1, **changes}


def test_files_of_returns_each_files_record_when_the_event_is_metadatas() -> None:
    event = event_of(
        record(subdir="a/b/", size=128),
        {"destinationTable": "FileKeyValue", "key": "Tag", "value": "x", "file_id": 1},
        record(_id="2", subdir="", name="パソ.xls", hashsum=SHA1.upper()),
    )
    assert files_of(event) == (
        FileRecord(1, "a/b/foo.txt", 128, "sha1", SHA1),
        FileRecord("2", "パソ.xls", 0, "sha1", SHA1),
    )


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"data": None},
        {"data": "text"},
        {"data": []},
        {"data": [None, 1, "Files", [], {}]},
        {"data": {"obj_type": "files", "obj_primary_keys": [{"id": 1}], "method": "insert"}},
    ],
)
def test_files_of_returns_nothing_when_the_event_has_no_files(event: dict[str, Any]) -> None:
    assert files_of(event) == ()


def test_files_of_returns_the_record_when_it_is_all_of_the_data() -> None:
    assert [each.path for each in files_of({"data": record()})] == ["a/b/foo.txt"]


@pytest.mark.parametrize(
    ("subdir", "name"),
    [
        ("/", "foo"),
        ("/etc", "passwd"),
        ("..", "foo"),
        ("a/../../b", "foo"),
        ("a//b", "foo"),
        ("a/./b", "foo"),
        ("a", ".."),
        ("a", "."),
        ("a", ""),
        ("", ""),
        ("", "/etc/passwd"),
        ("a", "b/c"),
        ("a", "../b"),
        ("C:", "foo"),
        ("c:/a", "foo"),
        ("", "C:foo"),
        ("a\\b", "foo"),
        ("a", "..\\foo"),
        ("a\0b", "foo"),
        ("a", "foo\0"),
        ("a", "foo\nbar"),
        ("a", "\ud800"),
        ("a", "n" * 256),
        ("/".join(["n" * 200] * 30), "foo"),
    ],
)
def test_files_of_refuses_a_name_when_it_could_lead_elsewhere(subdir: str, name: str) -> None:
    with pytest.raises(TransferError, match=": refused, it") as caught:
        files_of(event_of(record(subdir=subdir, name=name)))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"_id": None}, "the event has no _id of it"),
        ({"_id": True}, "the event has no _id of it"),
        ({"_id": 1.5}, "the event has no _id of it"),
        ({"_id": "../1"}, "the event has no _id of it"),
        ({"size": None}, "the event has no size of it"),
        ({"size": -1}, "the event has no size of it"),
        ({"size": True}, "the event has no size of it"),
        ({"size": "1"}, "the event has no size of it"),
        ({"hashtype": None}, "the event has no hashtype and hashsum of it"),
        ({"hashsum": 1}, "the event has no hashtype and hashsum of it"),
        ({"hashtype": "sha0"}, "the hashtype 'sha0' is unknown here"),
        ({"hashtype": "sha1\0"}, "the hashtype 'sha1?' is unknown here"),
        ({"hashtype": ""}, "the hashtype '' is unknown here"),
        ({"hashtype": "shake_128", "hashsum": ""}, "the hashsum is not one of shake_128"),
        ({"hashtype": "md5"}, "the hashsum is not one of md5"),
        ({"hashsum": "g" * 40}, "the hashsum is not one of sha1"),
        ({"hashsum": SHA1 + "\n"}, "the hashsum is not one of sha1"),
    ],
)
def test_files_of_names_file_and_field_when_the_field_is_wrong(
    change: dict[str, Any], problem: str
) -> None:
    with pytest.raises(TransferError) as caught:
        files_of(event_of(record(**change)))
    assert str(caught.value) == f"a/b/foo.txt: {problem}"


@pytest.mark.parametrize("field", ["name", "subdir"])
def test_files_of_raises_when_a_file_has_no_name(field: str) -> None:
    with pytest.raises(TransferError, match="a file of the event has no name and subdir"):
        files_of(event_of(record(**{field: None})))


def test_files_of_refuses_a_file_when_the_event_has_it_twice() -> None:
    with pytest.raises(TransferError, match=r"a/b/foo\.txt: refused, the event has it twice"):
        files_of(event_of(record(subdir="a/b/"), record(_id=2, subdir="a/b")))


def test_files_of_refuses_a_file_when_it_is_the_folder_of_another() -> None:
    with pytest.raises(TransferError, match="a/b: refused, it is a folder of another file"):
        files_of(event_of(record(), record(_id=2, subdir="a", name="b")))


@pytest.mark.skipif(os.name != "nt", reason="names that only Windows takes for something else")
@pytest.mark.parametrize("name", ["nul", "COM1.txt", "foo.", "foo:bar", "foo?"])
def test_files_of_refuses_a_name_when_windows_cannot_have_it(name: str) -> None:
    with pytest.raises(TransferError, match="a name that Windows cannot have"):
        files_of(event_of(record(name=name)))


PARTS = st.sampled_from(["..", ".", "", "/", "\\", "C:", "a", "é", "\0", "\ud800", " ", "nul", ":"])
NAMES = st.one_of(st.text(max_size=8), st.lists(PARTS, max_size=6).map("".join))
FOLDERS = (PurePosixPath("/src/downloads"), PureWindowsPath("D:/src/downloads"))


@pytest.mark.parametrize("folder", FOLDERS, ids=["posix", "windows"])
@given(subdir=NAMES, name=NAMES)
@settings(deadline=None)
def test_files_of_returns_only_paths_that_stay_in_their_folder(
    folder: PurePath, subdir: str, name: str
) -> None:
    try:
        (found,) = files_of(event_of(record(subdir=subdir, name=name)))
    except TransferError:
        return
    if ":" in found.path and isinstance(folder, PureWindowsPath):
        return  # refused there, and nowhere else
    path = folder / found.path
    assert path.is_relative_to(folder)
    assert path != folder
    assert ".." not in path.parts
    assert found.path.encode()
