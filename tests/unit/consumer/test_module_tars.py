import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacifica.notifications.consumer.author.pacifica_notifications_consumer.errors import (
    TransferError,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.records import (
    FileRecord,
)
from pacifica.notifications.consumer.author.pacifica_notifications_consumer.tars import unpack
from tests.support.pacifica_stubs import (
    Member,
    cart_tar,
    file_member,
    folder_member,
    link_member,
    tar_of,
)

CONTENT = b"content"
ROOTS = ("data", "the-cart")


def record(path: str, content: bytes = CONTENT, hashtype: str = "sha1") -> FileRecord:
    hashsum = hashlib.new(hashtype, content).hexdigest()
    return FileRecord(1, path, len(content), hashtype, hashsum)


def reader(tar: bytes) -> Callable[[int], bytes]:
    return io.BytesIO(tar).read


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("root", ROOTS)
def test_unpack_writes_every_file_when_the_tar_is_a_carts(root: str, tmp_path: Path) -> None:
    files = {"a/b/foo.txt": b"foo", "パソ.xls": b"", "a/large": b"x" * 300_000}
    long = f"{'l' * 200}/{'n' * 200}"  # as neither fits into a tar's oldest header
    files[long] = b"long"
    records = [record(path, content, "sha256") for path, content in files.items()]
    unpack(reader(cart_tar(files, root)), records, ROOTS, tmp_path)
    assert written(tmp_path) == files


REFUSED: dict[str, tuple[list[Member], str]] = {
    "absolute": ([file_member("/data/foo", CONTENT)], "sent '/data/foo', which nobody asked for"),
    "parent": ([file_member("data/../foo", CONTENT)], "which nobody asked for"),
    "other root": ([file_member("../foo", CONTENT)], "which nobody asked for"),
    "root itself": ([file_member("data", CONTENT)], "which nobody asked for"),
    "not asked for": ([file_member("data/bar", CONTENT)], "which nobody asked for"),
    "twice": ([file_member("data/foo", CONTENT)] * 2, "which nobody asked for"),
    "folder": ([folder_member("data/bar")], "which nobody asked for"),
    "folder twice": ([folder_member("data"), folder_member("data")], "which nobody asked for"),
    "folder instead": ([folder_member("data/foo")], "foo: Cart sent something that is no file"),
    "symbolic link": ([link_member("data/foo", "/etc/passwd")], "something that is no file"),
    "hard link": (
        [link_member("data/foo", "/etc/passwd", tarfile.LNKTYPE)],
        "something that is no file",
    ),
    "device": ([link_member("data/foo", "", tarfile.CHRTYPE)], "something that is no file"),
    "fifo": ([link_member("data/foo", "", tarfile.FIFOTYPE)], "something that is no file"),
    "larger": ([file_member("data/foo", b"contents")], "has 8 bytes, and not 7"),
    "smaller": ([file_member("data/foo", b"c")], "has 1 bytes, and not 7"),
    "other content": ([file_member("data/foo", b"CONTENT")], "has the sha1 "),
    "missing": ([folder_member("data")], "foo: Cart did not send it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unpack_refuses_a_tar_when_it_is_not_what_was_asked_for(case: str, tmp_path: Path) -> None:
    members, problem = REFUSED[case]
    with pytest.raises(TransferError) as caught:
        unpack(reader(tar_of(members)), [record("foo")], ROOTS, tmp_path)
    assert problem in str(caught.value)


@pytest.mark.parametrize("tar", [b"", b"\0" * 10_240, b"no tar " * 1000, tar_of([])])
def test_unpack_raises_when_there_is_no_file_in_what_was_sent(tar: bytes, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"sent a broken tar|Cart did not send it"):
        unpack(reader(tar), [record("foo")], ROOTS, tmp_path)


@pytest.mark.parametrize("length", [100, 512, 600, 1000])
def test_unpack_raises_when_the_tar_is_cut_short(length: int, tmp_path: Path) -> None:
    content = b"x" * 2000
    tar = tar_of([file_member("data/foo", content)])[:length]
    with pytest.raises(TransferError, match="sent a broken tar"):
        unpack(reader(tar), [record("foo", content)], ROOTS, tmp_path)


def test_unpack_stops_reading_when_a_header_announces_a_huge_name(tmp_path: Path) -> None:
    header = tarfile.TarInfo("data/foo")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    parts = [header.tobuf(tarfile.GNU_FORMAT)]
    given_out = 0

    def read(size: int) -> bytes:
        nonlocal given_out
        given_out += size
        return parts.pop() if parts else b"x" * size

    with pytest.raises(TransferError, match="sent more than was asked for"):
        unpack(read, [record("foo")], ROOTS, tmp_path)
    assert given_out < 1 << 20


NAMES = st.sampled_from(
    ["data", "the-cart", "foo", "bar", "..", ".", "", "/", "a", "C:", "a\\b", "\0", "é", "~"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
CONTENTS = st.sampled_from([CONTENT, b"", b"CONTENT", b"x" * 600])
MEMBERS = st.one_of(
    st.builds(file_member, PATHS, CONTENTS),
    st.builds(folder_member, PATHS),
    st.builds(
        link_member,
        PATHS,
        st.sampled_from(["..", "/", "../outside", "foo"]),
        st.sampled_from([tarfile.SYMTYPE, tarfile.LNKTYPE]),
    ),
)
ASKED = [record("foo"), record("a/bar"), record("é/a/foo")]


def require_only_asked(tar: bytes, records: Sequence[FileRecord]) -> None:
    """Unpack, and fail where anything but the files of the records was written anywhere."""
    asked = {each.path: each for each in records}
    with TemporaryDirectory() as outside:
        folder = Path(outside, "folder")
        folder.mkdir()
        with suppress(TransferError):
            unpack(reader(tar), records, ROOTS, folder)
            assert set(written(folder)) == set(asked)
        assert list(Path(outside).iterdir()) == [folder]
        for path in folder.rglob("*"):
            assert not path.is_symlink()
            if path.is_file():
                each = asked[path.relative_to(folder).as_posix()]
                assert path.stat().st_size <= each.size


@given(st.lists(MEMBERS, max_size=6))
@settings(deadline=None)
def test_unpack_writes_only_what_was_asked_for_whatever_the_members(members: list[Member]) -> None:
    require_only_asked(tar_of(members), ASKED)


@given(
    st.lists(MEMBERS, max_size=4),
    st.lists(st.tuples(st.integers(0, 3000), st.binary(min_size=1, max_size=12)), max_size=4),
)
@settings(deadline=None)
def test_unpack_writes_only_what_was_asked_for_whatever_the_bytes(
    members: list[Member], changes: list[tuple[int, bytes]]
) -> None:
    good = [file_member(f"data/{each.path}", CONTENT) for each in ASKED]
    tar = bytearray(tar_of([*members, *good]))
    for place, change in changes:
        tar[place : place + len(change)] = change
    require_only_asked(bytes(tar), ASKED)


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_unpack_writes_nothing_when_it_is_given_noise(noise: bytes) -> None:
    require_only_asked(noise, ASKED)
