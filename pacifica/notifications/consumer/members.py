"""What an archive's members are and where they may go: the rules that keep them in their folder."""

import re
import stat
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipInfo

from pacifica.notifications.consumer.errors import ConsumerError

ENTRY = "__main__.py"
# What the archivers of macOS add beside the folder that they were given.
_BYSTANDERS = {"__MACOSX", ".DS_Store"}
_ENCRYPTED = 0x1 | 0x40  # PKWARE's APPNOTE, 4.4.4: bits 0 and 6
_OWNER_RUNS = 0o100
_SHOWN = 100
_LONGEST = 1000
_DRIVE = re.compile(r"[A-Za-z]:")
# "Naming Files, Paths, and Namespaces" of the Windows documentation.
_NOT_ON_WINDOWS = re.compile(
    r'[<>:"|?*]|[ .]$|^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)',
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Member:
    """One file or folder: its path below the archive's top, and zipfile's record of it."""

    path: PurePosixPath
    is_folder: bool
    is_executable: bool
    info: ZipInfo

    def __str__(self) -> str:
        """Return the name as an error shows it."""
        return shown(self.info.orig_filename)


def checked(infos: Sequence[ZipInfo], most_bytes: int, most_members: int) -> list[Member]:
    """Return an archive's members, or raise ConsumerError with the name of the one that is refused.

    `most_members` bounds files and folders, of which those count too that only paths imply.
    """
    members = []
    places = _Places(most_members)
    size = 0
    for info in infos:
        problem = _problem(info)
        if problem:
            raise ConsumerError(f"{shown(info.orig_filename)} {problem}")
        member = _member(info)
        places.take(member)
        size += info.file_size
        if size > most_bytes:
            raise ConsumerError(f"{member} makes it more than {most_bytes} bytes in all")
        members.append(member)
    return members


def program_folder(members: Sequence[Member]) -> PurePosixPath:
    """Return where the entry point is: at the top, or in the only folder there.

    Raises ConsumerError where it is in neither.
    """
    files = {member.path for member in members if not member.is_folder}
    tops = {path.parts[0] for path in files} - _BYSTANDERS
    for folder in [PurePosixPath(), *map(PurePosixPath, tops if len(tops) == 1 else ())]:
        if folder / ENTRY in files:
            return folder
    raise ConsumerError(f"it has no {ENTRY}")


def name_problem(name: str, *, on_windows: bool = sys.platform == "win32") -> str | None:
    """Say what is wrong with a member's name, if anything is."""
    if len(name) > _LONGEST:
        return f"has a path of more than {_LONGEST} characters"
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
    """Return a name as an error shows it: in one line, whatever is in it."""
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


class _Places:
    """The paths that are taken, by what file systems hold for the same name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[str, tuple[PurePosixPath, bool]] = {}

    def take(self, member: Member) -> None:
        """Take a member's path, and those of the folders that it is in."""
        if not member.path.parts:
            return
        self._take(member.path, member.is_folder, member)
        for folder in member.path.parents[:-1]:
            if not self._take(folder, True, member):
                return  # and so are those that it is in

    def _take(self, path: PurePosixPath, is_folder: bool, member: Member) -> bool:
        """Take a path if it is free; raises ConsumerError if it cannot be shared."""
        key = _folded(str(path))
        if key not in self._taken:
            if len(self._taken) >= self._most:
                raise ConsumerError(f"{member} makes it more than {self._most} files and folders")
            self._taken[key] = (path, is_folder)
            return True
        if self._taken[key] != (path, True) or not is_folder:
            raise ConsumerError(f"{member} has the name of another member")
        return False


def _folded(path: str) -> str:
    """Return what is equal for paths that macOS or Windows make one file of.

    They do where only case differs, or how an accent is spelled.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _problem(info: ZipInfo) -> str | None:
    # zipfile cuts the name at a NUL, and may take another from an extra field.
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
