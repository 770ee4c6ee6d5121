import io
import stat
import struct
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacifica.notifications.consumer.archive import ArchiveLimits, Extracted, extract, name_problem
from pacifica.notifications.errors import ConsumerError
from tests.support import archives
from tests.support.archives import Entry

LIMITS = ArchiveLimits(bytes=100_000, members=20)
NAMES = st.text(
    st.sampled_from("ab.AB/\\:\0\n é") | st.characters(exclude_categories=["Cs"]), max_size=12
)
MODES = st.sampled_from([0, stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO])


class Place:
    """A folder with an archive, and another to extract it to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.archive = path / "consumer.zip"
        self.target = path / "target"

    def extract(self, content: bytes, limits: ArchiveLimits = LIMITS) -> Extracted:
        self.archive.write_bytes(content)
        return extract(self.archive, self.target, limits)

    def refusal(self, content: bytes, limits: ArchiveLimits = LIMITS) -> str:
        with pytest.raises(ConsumerError) as refused:
            self.extract(content, limits)
        assert [path.name for path in self.path.iterdir()] == ["consumer.zip"]
        message = str(refused.value)
        assert message.isprintable(), message
        return message


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_extract_returns_what_the_archive_has(place: Place) -> None:
    extracted = place.extract(archives.good())
    assert extracted == Extracted(place.target, archives.JSONPATH, True, True)
    assert (place.target / "data" / "table.csv").read_text() == "1,2\n"
    assert (place.target / "__main__.py").read_text() == archives.ENTRY


def test_extract_says_what_is_not_there_when_it_is_optional(place: Place) -> None:
    extracted = place.extract(archives.consumer())
    assert (extracted.has_requirements, extracted.has_init) == (False, False)


def test_extract_takes_the_only_folder_when_the_entry_point_is_in_it(place: Place) -> None:
    content = archives.consumer(more={"init.sh": "true"}, top="my consumer/")
    assert place.extract(content) == Extracted(
        place.target / "my consumer", archives.JSONPATH, False, True
    )


def test_extract_takes_the_only_folder_when_macos_has_added_its_own(place: Place) -> None:
    members = {"mine/__main__.py": "", "mine/jsonpath2.txt": "$", "__MACOSX/mine/._a": b"\0"}
    assert place.extract(archives.zipped(members)).folder == place.target / "mine"


def test_extract_ignores_the_dot_when_names_begin_with_one(place: Place) -> None:
    members = {"./": Entry(), "./__main__.py": "", "./jsonpath2.txt": "$"}
    assert place.extract(archives.zipped(members)).folder == place.target


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_extracted_files_are_their_owner_s_and_executable_when_they_were(place: Place) -> None:
    tool = Entry(b"#!/bin/sh\n", attributes=(stat.S_IFREG | 0o6755) << 16)
    place.extract(archives.consumer(more={"bin/tool": tool}))
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in [place.target, *place.target.rglob("*")]
    }
    files = {"__main__.py": 0o600, "jsonpath2.txt": 0o600, "tool": 0o700}
    assert modes == {"target": 0o700, "bin": 0o700, **files}


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf$.data\r\n", b"\n $.data \n"])
def test_the_jsonpath_is_without_what_editors_add(place: Place, content: bytes) -> None:
    assert place.extract(archives.with_jsonpath(content)).jsonpath == "$.data"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "jsonpath2.txt is empty"),
        (b" \n\n", "jsonpath2.txt is empty"),
        (b"\xff\xfe$", "jsonpath2.txt is not UTF-8"),
        (b"$." + b"a" * 5000, "jsonpath2.txt: "),
        (b"$" * 20_000, "jsonpath2.txt has more than 16384 bytes"),
        (b"$[?(", "jsonpath2.txt: "),
        (b"$.a\n\n$.b", "jsonpath2.txt: "),
    ],
)
def test_extract_refuses_a_jsonpath_when_it_is_none(
    place: Place, content: bytes, problem: str
) -> None:
    assert place.refusal(archives.with_jsonpath(content)).startswith(problem)


@pytest.mark.parametrize("name", ["__main__.py", "jsonpath2.txt"])
def test_extract_refuses_an_archive_when_it_lacks_a_file(place: Place, name: str) -> None:
    assert place.refusal(archives.without(name)) == f"it has no {name}"


def test_extract_refuses_an_archive_when_the_entry_point_is_a_folder(place: Place) -> None:
    members = {"__main__.py/": Entry(), "jsonpath2.txt": "$"}
    assert place.refusal(archives.zipped(members)) == "it has no __main__.py"


def test_extract_refuses_an_archive_when_two_folders_have_an_entry_point(place: Place) -> None:
    members = {f"{top}/{name}": "$" for top in "ab" for name in ("__main__.py", "jsonpath2.txt")}
    assert place.refusal(archives.zipped(members)) == "it has no __main__.py"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("/etc/cron.d/x", "has an absolute path"),
        ("//server/share/x", "has an absolute path"),
        ("C:/x", "has an absolute path"),
        ("c:x", "has an absolute path"),
        ("../x", "has '..' in its path"),
        ("a/../../x", "has '..' in its path"),
        ("a/..", "has '..' in its path"),
        ("..\\x", "has a backslash in its name"),
        ("a\0.txt", "has a control character in its name"),
        ("a\nb", "has a control character in its name"),
        ("", "has no name"),
        ("a" * 1001, "has a path of more than 1000 characters"),
    ],
)
def test_extract_refuses_a_member_when_its_name_is_unsafe(
    place: Place, name: str, problem: str
) -> None:
    message = place.refusal(archives.with_member(name))
    assert message.endswith(f" {problem}")
    assert repr(name)[:50] in message


@pytest.mark.parametrize("name", ["ab:c", "con", "x/NUL.txt", "com1.log", "a.", "a /b", "what?"])
def test_a_name_is_refused_when_only_windows_reserves_it(name: str) -> None:
    assert name_problem(name, on_windows=True) == "has a name that Windows reserves"
    assert name_problem(name, on_windows=False) is None


@pytest.mark.parametrize("name", ["./a", "a//b", "console", "com10", "a.b", ".a", "ü"])
def test_a_name_is_not_refused_when_windows_takes_it(name: str) -> None:
    assert name_problem(name, on_windows=True) is None


@pytest.mark.parametrize(
    "names",
    [
        ("a.txt", "a.txt"),
        ("a.txt", "A.TXT"),
        ("dir/a", "DIR/b"),
        ("a", "a/b"),
        ("a/b", "a"),
        ("caf\u00e9", "cafe\u0301"),
        ("stra\u00dfe", "STRASSE"),
        ("a", "./a"),
        ("__Main__.py",),
    ],
)
def test_extract_refuses_members_when_their_names_collide(
    place: Place, names: tuple[str, ...]
) -> None:
    message = place.refusal(archives.with_twins(*names))
    assert message == f"{names[-1]!r} has the name of another member"


def test_extract_refuses_a_member_when_it_is_a_link(place: Place) -> None:
    assert place.refusal(archives.with_link()) == "'link' is a link"


def test_extract_refuses_a_member_when_it_is_a_device(place: Place) -> None:
    assert place.refusal(archives.with_device()) == "'null' is neither a file nor a folder"


def test_extract_refuses_a_member_when_it_is_encrypted(place: Place) -> None:
    assert place.refusal(archives.encrypted()) == "'__main__.py' is encrypted"


def test_extract_refuses_a_member_when_a_folder_has_content(place: Place) -> None:
    message = place.refusal(archives.with_member("a/", Entry(b"content")))
    assert message == "'a/' is a folder with bytes of its own"


def test_extract_refuses_a_member_when_its_compression_is_another(place: Place) -> None:
    message = place.refusal(archives.with_member("a", Entry(b"b", compression=zipfile.ZIP_LZMA)))
    assert message == "'a' is compressed by method 14, which is not Deflate"


@pytest.mark.parametrize("size", [3000, 75_000])
@pytest.mark.parametrize("announced", [10, 0, 65_536, 80_000])
def test_extract_refuses_a_member_when_its_size_is_not_the_announced_one(
    place: Place, announced: int, size: int
) -> None:
    message = place.refusal(archives.announcing(announced, b"abc" * (size // 3)))
    assert message == "'lies' is broken, or not as large as announced"


def test_extract_refuses_a_member_when_its_content_is_broken(place: Place) -> None:
    content = bytearray(archives.with_member("broken", Entry(bytes(range(256)))))
    content[content.index(b"broken") + 40] ^= 0xFF
    message = place.refusal(bytes(content))
    assert message == "'broken' is broken, or not as large as announced"


def test_extract_refuses_a_member_when_it_is_stored_with_another_size(place: Place) -> None:
    stored = Entry(b"abc" * 100, compression=zipfile.ZIP_STORED)
    content = archives.with_member("lies", stored)
    changed = content.replace(struct.pack("<LL", 300, 300), struct.pack("<LL", 300, 200))
    assert changed != content
    assert place.refusal(changed) == "'lies' is not as large as announced"


def test_extract_refuses_a_member_when_the_system_does_not_take_its_name(place: Place) -> None:
    message = place.refusal(archives.with_member("n" * 300))
    assert "cannot be extracted: " in message


def test_extract_refuses_an_archive_when_it_has_too_many_bytes(place: Place) -> None:
    content = archives.with_member("bomb", Entry(b"\0" * 1_000_000))
    assert len(content) < 5_000
    assert place.refusal(content) == "'bomb' makes it more than 100000 bytes in all"


def test_extract_refuses_an_archive_when_it_has_too_many_members(place: Place) -> None:
    more = {f"file {number}": b"" for number in range(LIMITS.members)}
    message = place.refusal(archives.consumer(more=more))
    assert message == "'file 18' makes it more than 20 files and folders"


def test_extract_refuses_an_archive_when_its_paths_need_too_many_folders(place: Place) -> None:
    message = place.refusal(archives.with_member("a/" * 30 + "b"))
    assert message.endswith("makes it more than 20 files and folders")


@pytest.mark.parametrize("size", [10_000_000, 2**32 - 2])
def test_extract_reads_no_directory_when_it_has_too_many_bytes(place: Place, size: int) -> None:
    padding = b"\0" * 10_000_000
    message = place.refusal(padding + archives.with_directory_of(size))
    assert "more than 20 members" in message or "not a zip archive" in message


@pytest.mark.parametrize("content", [b"", b"no zip", archives.consumer()[:-30], b"PK\5\6" * 10])
def test_extract_refuses_a_file_when_it_is_no_zip(place: Place, content: bytes) -> None:
    message = place.refusal(content)
    assert message == f"{place.archive} is not a zip archive that can be read"


def test_extract_refuses_an_archive_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConsumerError, match="is not there, or not a file"):
        extract(tmp_path / "nothing.zip", tmp_path / "target", LIMITS)
    with pytest.raises(ConsumerError, match="is not there, or not a file"):
        extract(tmp_path, tmp_path / "target", LIMITS)


def test_extract_leaves_a_folder_alone_when_it_is_there_already(place: Place) -> None:
    place.target.mkdir()
    (place.target / "mine").touch()
    with pytest.raises(ConsumerError, match="target cannot be made: File exists"):
        place.extract(archives.good())
    assert [path.name for path in place.target.iterdir()] == ["mine"]


def tree(path: Path) -> set[str]:
    return {str(each.relative_to(path)) for each in path.rglob("*")}


def only_extracted(content: bytes) -> bool:
    """Extract something, and see that it is refused without a trace, or stays in its folder.

    Returns whether it was extracted.
    """
    with TemporaryDirectory() as folder:
        inner = Path(folder, "deep", "deeper")
        inner.mkdir(parents=True)
        place = Place(inner)
        is_refused = False
        try:
            place.extract(content)
        except ConsumerError:
            is_refused = True
        found = tree(Path(folder))
        outside = {"deep", "deep/deeper", "deep/deeper/consumer.zip"}
        assert {each for each in found if not each.startswith("deep/deeper/target")} == outside
        assert ("deep/deeper/target" in found) is not is_refused
        assert not any(path.is_symlink() for path in Path(folder).rglob("*"))
        return not is_refused


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, MODES, st.binary(max_size=20)), max_size=5))
def test_extract_writes_nothing_outside_whatever_the_members(
    members: list[tuple[str, int, bytes]],
) -> None:
    base = [("__main__.py", Entry()), ("jsonpath2.txt", Entry(b"$"))]
    added = [(name, Entry(content, mode << 16)) for name, mode, content in members]
    only_extracted(archives.zipped([*base, *added]))


@settings(deadline=None)
@given(st.data())
def test_extract_refuses_or_extracts_whatever_is_changed_in_an_archive(data: st.DataObject) -> None:
    content = bytearray(archives.good())
    places = st.integers(0, len(content) - 1)
    for at, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=6)):
        content[at] = byte
    only_extracted(bytes(content))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_extract_refuses_whatever_is_no_zip(content: bytes) -> None:
    only_extracted(content)


def test_the_sample_archives_are_zips_that_zipfile_reads() -> None:
    for content in (archives.good(), archives.without("jsonpath2.txt"), archives.with_link()):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
