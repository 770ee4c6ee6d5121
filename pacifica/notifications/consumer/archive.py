"""Validates the archive of a consumer, and extracts it to a folder.

The entry point is at the archive's top, or in the only folder there, because some tools zip a
folder and not its files. Files that macOS adds beside that folder do not count. The folder of the
entry point is the program's folder, which has its other files.
"""

import copy
import io
import os
import re
import shutil
import stat
import struct
import sys
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pacifica.notifications import jsonpath
from pacifica.notifications.errors import ConsumerError, ExpressionError

JSONPATH = "jsonpath2.txt"
REQUIREMENTS = "requirements.txt"
INIT = "init.sh"
_PRIVATE = 0o700
_CHUNK = 2**16
# A character of a JSONPath takes at most four bytes.
_JSONPATH_BYTES = 4 * jsonpath.MAX_LENGTH
# The size of one member's record in the archive's directory, and of its end, which zipfile reads to
# find the directory.
_RECORD_BYTES = 1024
_END_BYTES = 2**17
_BROKEN = (
    *(BadZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)


ENTRY = "__main__.py"
# Names that the archivers of macOS add beside the folder.
_OF_MACOS = {"__MACOSX", ".DS_Store"}
_ENCRYPTED = 0x1 | 0x40  # PKWARE's APPNOTE, 4.4.4: bits 0 and 6
_OWNER_RUNS = 0o100
_MAX_SHOWN = 100
_MAX_PATH = 1000
_DRIVE = re.compile(r"[A-Za-z]:")
# "Naming Files, Paths, and Namespaces" of the Windows documentation.
_NOT_ON_WINDOWS = re.compile(
    r'[<>:"|?*]|[ .]$|^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)',
    re.IGNORECASE,
)


@dataclass(frozen=True)
class ArchiveLimits:
    """The limits of an archive: total bytes, and number of files and folders."""

    bytes: int = 2**30
    members: int = 10_000


@dataclass(frozen=True)
class Extracted:
    """An extracted archive: its program's folder, its JSONPath and optional files."""

    folder: Path
    jsonpath: str
    has_requirements: bool
    has_init: bool


@dataclass(frozen=True)
class Member:
    """One file or folder in the archive, with its path and zipfile's record."""

    path: PurePosixPath
    is_folder: bool
    is_executable: bool
    info: ZipInfo

    def __str__(self) -> str:
        """Return the name for an error message."""
        return shown(self.info.orig_filename)


def extract(archive: Path, folder: Path, limits: ArchiveLimits) -> Extracted:
    """Extract an archive to a new folder; leave nothing if that fails.

    Only the owner can read the files. A file is executable if the archive says so. Raises
    ConsumerError if the archive is invalid, or is not a consumer's.
    """
    if not archive.is_file():
        raise ConsumerError(f"{archive} is not there, or not a file")
    try:
        with _Bounded(archive, limits) as file, ZipFile(file) as opened:
            members = checked(opened.infolist(), limits)
            program = program_folder(members)
            _create(folder)
            try:
                _write(opened, members, folder)
                return _extracted(folder / program)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except OSError as error:
        raise ConsumerError(f"{archive} cannot be read: {error.strerror or error}") from error
    except _BROKEN as error:
        raise ConsumerError(f"{archive} is not a zip archive that can be read") from error


class _Bounded(io.FileIO):
    """A file that limits each read to the largest allowed directory of an archive.

    zipfile reads the whole directory into memory, and the archive itself declares its size.
    """

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        super().__init__(path)
        self._limits = limits

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some bytes; raise ConsumerError for too many."""
        max_size = self._limits.members * _RECORD_BYTES + _END_BYTES
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > max_size:
            raise ConsumerError(f"it declares more than {self._limits.members} members")
        return super().read(size) or b""


def _create(folder: Path) -> None:
    try:
        folder.mkdir(mode=_PRIVATE)
    except OSError as error:
        raise ConsumerError(f"{folder} cannot be made: {error.strerror}") from error


def _write(opened: ZipFile, members: Sequence[Member], folder: Path) -> None:
    for member in members:
        path = folder / member.path
        try:
            if member.is_folder:
                path.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            else:
                path.parent.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
                _write_file(opened, member, path)
        except OSError as error:
            raise ConsumerError(
                f"{member} cannot be extracted: {error.strerror or error}"
            ) from error
        except _BROKEN as error:
            raise ConsumerError(f"{member} is broken, or not as large as announced") from error


def _write_file(opened: ZipFile, member: Member, path: Path) -> None:
    announced = member.info.file_size
    # zipfile stops at the announced size without an error, even if there is more data.
    info = copy.copy(member.info)
    info.file_size = announced + 1
    written = 0
    with opened.open(info) as source, path.open("xb") as target:
        while chunk := source.read(min(_CHUNK, announced + 1 - written)):
            written += len(chunk)
            if written > announced:
                break
            target.write(chunk)
    if written != announced:
        raise BadZipFile
    path.chmod(_PRIVATE if member.is_executable else 0o600)


def _extracted(folder: Path) -> Extracted:
    return Extracted(
        folder=folder,
        jsonpath=_jsonpath(folder / JSONPATH),
        has_requirements=(folder / REQUIREMENTS).is_file(),
        has_init=(folder / INIT).is_file(),
    )


def _jsonpath(path: Path) -> str:
    if not path.is_file():
        raise ConsumerError(f"it has no {JSONPATH}")
    with path.open("rb") as file:
        content = file.read(_JSONPATH_BYTES + 1)
    if len(content) > _JSONPATH_BYTES:
        raise ConsumerError(f"{JSONPATH} has more than {_JSONPATH_BYTES} bytes")
    try:
        # Editors on Windows may begin a file with a byte order mark.
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ConsumerError(f"{JSONPATH} is not UTF-8") from error
    if not text:
        raise ConsumerError(f"{JSONPATH} is empty")
    try:
        jsonpath.parse(text)
    except ExpressionError as error:
        raise ConsumerError(f"{JSONPATH}: {error}") from error
    return text


# Validation of an archive's members and their paths.


def checked(infos: Sequence[ZipInfo], limits: ArchiveLimits) -> list[Member]:
    """Return an archive's members; raise ConsumerError for an invalid one.

    A folder that exists only as part of other paths counts as a member, too.
    """
    members = []
    paths = _Paths(limits.members)
    size = 0
    for info in infos:
        problem = _problem(info)
        if problem:
            raise ConsumerError(f"{shown(info.orig_filename)} {problem}")
        member = _member(info)
        paths.take(member)
        size += info.file_size
        if size > limits.bytes:
            raise ConsumerError(f"{member} makes it more than {limits.bytes} bytes in all")
        members.append(member)
    return members


def program_folder(members: Sequence[Member]) -> PurePosixPath:
    """Return the entry point's folder: the top, or the only folder there.

    Raises ConsumerError if neither has an entry point.
    """
    files = {member.path for member in members if not member.is_folder}
    tops = {path.parts[0] for path in files} - _OF_MACOS
    for folder in [PurePosixPath(), *map(PurePosixPath, tops if len(tops) == 1 else ())]:
        if folder / ENTRY in files:
            return folder
    raise ConsumerError(f"it has no {ENTRY}")


def name_problem(name: str, *, on_windows: bool = sys.platform == "win32") -> str | None:
    """Return the problem of a member's name; None if it is valid."""
    if len(name) > _MAX_PATH:
        return f"has a path of more than {_MAX_PATH} characters"
    if any(unicodedata.category(each) in {"Cc", "Cs"} for each in name):
        return "has a control character in its name"
    if "\\" in name:
        return "has a backslash in its name"
    parts = name.split("/")
    if name.startswith("/") or _DRIVE.match(name):
        return "has an absolute path"
    if ".." in parts:
        return "has '..' in its path"
    if on_windows and any(_NOT_ON_WINDOWS.search(part) for part in parts if part != "."):
        return "has a name that Windows reserves"
    return None


def shown(name: str) -> str:
    """Return a name for an error message, always in one line."""
    return repr(name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…")


class _Paths:
    """The paths of an archive; names that a file system treats as equal are one path."""

    def __init__(self, max_paths: int) -> None:
        self._max_paths = max_paths
        self._taken: dict[str, tuple[PurePosixPath, bool]] = {}

    def take(self, member: Member) -> None:
        """Claim a member's path, and those of its parent folders."""
        if not member.path.parts:
            return
        self._take(member.path, member.is_folder, member)
        for folder in member.path.parents[:-1]:
            if not self._take(folder, True, member):
                return  # its parents are claimed already

    def _take(self, path: PurePosixPath, is_folder: bool, member: Member) -> bool:
        """Claim a path if it is free; raise ConsumerError if it cannot be shared."""
        key = _folded(str(path))
        if key not in self._taken:
            if len(self._taken) >= self._max_paths:
                raise ConsumerError(
                    f"{member} makes it more than {self._max_paths} files and folders"
                )
            self._taken[key] = (path, is_folder)
            return True
        if self._taken[key] != (path, True) or not is_folder:
            raise ConsumerError(f"{member} has the name of another member")
        return False


def _folded(path: str) -> str:
    """Return a key that is equal for paths that macOS or Windows treat as one file.

    Such paths differ only in case, or in the spelling of an accent.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _problem(info: ZipInfo) -> str | None:
    # zipfile cuts the name at a NUL, and may use another name from an extra field.
    problem = name_problem(info.orig_filename) or name_problem(info.filename)
    if problem:
        return problem
    is_folder = info.filename.endswith("/")
    if not is_folder and PurePosixPath(info.filename).name in {"", "."}:
        return "has no name"
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK:
        return "is a link"
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or (kind == stat.S_IFDIR and not is_folder):
        return "is neither a file nor a folder"
    if is_folder and info.file_size:
        return "is a folder with bytes of its own"
    if info.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in {ZIP_STORED, ZIP_DEFLATED}:
        return f"is compressed by method {info.compress_type}, which is not Deflate"
    if info.compress_type == ZIP_STORED and info.compress_size != info.file_size:
        return "is not as large as announced"
    return None


def _member(info: ZipInfo) -> Member:
    return Member(
        # Without the "." of the "./name" that some archivers write.
        path=PurePosixPath(info.filename),
        is_folder=info.filename.endswith("/"),
        is_executable=bool(info.external_attr >> 16 & _OWNER_RUNS),
        info=info,
    )
