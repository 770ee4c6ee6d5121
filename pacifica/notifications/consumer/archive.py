"""Consumer archives: checked, and extracted to a folder.

The entry point is at the archive's top, or in the only folder there, as tools make it that zip a
folder and not its files; what macOS adds beside that folder does not count. The folder of the entry
point is then the program's, and its other files are looked for there.
"""

import copy
import io
import os
import shutil
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from pacifica.notifications import jsonpath
from pacifica.notifications.consumer.errors import ConsumerError
from pacifica.notifications.consumer.members import Member, checked, program_folder
from pacifica.notifications.errors import ExpressionError

JSONPATH = "jsonpath2.txt"
REQUIREMENTS = "requirements.txt"
INIT = "init.sh"
_PRIVATE = 0o700
_CHUNK = 2**16
# A character of a JSONPath takes four bytes at most.
_JSONPATH_BYTES = 4 * jsonpath.MAX_LENGTH
# Of the archive's directory: for one member, and what zipfile reads at its end to find it.
_RECORD_BYTES = 1024
_END_BYTES = 2**17
_BROKEN = (
    *(BadZipFile, zlib.error, struct.error, EOFError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may hold: bytes of all its files, and files and folders in number."""

    bytes: int = 2**30
    members: int = 10_000


@dataclass(frozen=True)
class Extracted:
    """An extracted archive: the folder of its entry point, its JSONPath, and what else it has."""

    folder: Path
    jsonpath: str
    has_requirements: bool
    has_init: bool


def extract(archive: Path, folder: Path, limits: ArchiveLimits) -> Extracted:
    """Extract an archive to a folder, which must not exist, or leave nothing there.

    Files are their owner's alone; those that the archive says can be executed can be. Raises
    ConsumerError for what is no archive of a consumer.
    """
    if not archive.is_file():
        raise ConsumerError(f"{archive} is not there, or not a file")
    try:
        with _Bounded(archive, limits) as file, ZipFile(file) as opened:
            members = checked(opened.infolist(), limits.bytes, limits.members)
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
    """A file that no more is read from at once than the directory of an archive may have.

    zipfile reads the whole directory, of whatever size an archive says that it has, into memory.
    """

    def __init__(self, path: Path, limits: ArchiveLimits) -> None:
        super().__init__(path)
        self._limits = limits

    def read(self, size: int | None = -1, /) -> bytes:
        """Read some bytes; raises ConsumerError where it is too many."""
        most = self._limits.members * _RECORD_BYTES + _END_BYTES
        if size is None or size < 0:
            size = os.fstat(self.fileno()).st_size - self.tell()
        if size > most:
            raise ConsumerError(f"it says that it has more than {self._limits.members} members")
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
    # zipfile stops at the announced size, and says nothing of what there is beyond it.
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
        # Editors on Windows begin a file with a byte order mark.
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
