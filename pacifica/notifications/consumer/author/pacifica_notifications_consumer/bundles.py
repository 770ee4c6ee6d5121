"""The files of a new transaction, and the tar that is sent to Ingest."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from mimetypes import guess_type
from pathlib import Path
from typing import IO, Any

from pacifica.uploader.bundler import Bundler
from pacifica.uploader.metadata import FileObj, MetaData, MetaObj

from .errors import TransferError, shown
from .records import is_unicode

MOST_FILES = 100_000
# The folder of the files in the tar. Ingest removes it from the paths in the metadata.
ROOT = "data"
_HASH = "sha1"
_KNOWN_TYPES = ("application", "audio", "font", "image", "message", "model", "text", "video")
_LATEST = 253_402_300_799  # the last second of the year 9999


@dataclass(frozen=True)
class Upload:
    """A file to be sent: its location, and its path below the folder of uploads."""

    file: Path
    path: str
    size: int
    mtime: int


def uploads_in(folder: Path) -> list[Upload]:
    """Return the files below a folder, sorted by path.

    Raises TransferError for anything else than files and folders. A link could lead outside.
    """
    found: list[Upload] = []
    for file, path in _walk(folder):
        if len(found) == MOST_FILES:
            raise TransferError(f"{folder.name}: has more than {MOST_FILES} files")
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise TransferError(f"{shown(path)}: is no file and no folder")
        found.append(Upload(file, path, status.st_size, min(max(0, int(status.st_mtime)), _LATEST)))
    return sorted(found, key=lambda upload: upload.path)


def write_bundle(
    file: IO[bytes], uploads: Sequence[Upload], metadata: Sequence[MetaObj]
) -> MetaData:
    """Write a bundle and return its metadata; raise TransferError for a missing file."""
    contents = [_Content(upload) for upload in uploads]
    described = [
        {"name": f"{ROOT}/{each.path}", "size": each.size, "mtime": each.mtime, "fileobj": content}
        for each, content in zip(uploads, contents, strict=True)
    ]
    bundled = MetaData(metadata)
    target = _Target(file)
    try:
        _Bundler(bundled, described, hashfunc=_HASH).stream(target)
    finally:
        target.close()
        for content in contents:
            content.close()
    return bundled


class _Target:
    """The file to which a bundle is written, until it is closed.

    If a bundle fails, its tar object writes an end when it is garbage-collected, after the close.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file: IO[bytes] | None = file

    def write(self, block: bytes) -> None:
        if self._file is not None:
            self._file.write(block)

    def close(self) -> None:
        self._file = None


class _Bundler(Bundler):
    """A bundler that describes files so that Ingest finds them and Metadata accepts them."""

    def _build_file_info(self, file_data: dict[str, Any], hashsum: str) -> FileObj:
        folder, _, name = file_data["name"].removeprefix(f"{ROOT}/").rpartition("/")
        # The client would remove ROOT once more, and Ingest does so again. Without this, a folder
        # with the same name would be lost.
        if folder.split("/")[0] == ROOT:
            folder = f"{ROOT}/{folder}"
        time = datetime.fromtimestamp(file_data["mtime"], UTC).replace(tzinfo=None).isoformat()
        return FileObj(
            destinationTable="Files",
            name=name,
            subdir=folder,
            size=file_data["size"],
            hashtype=_HASH,
            hashsum=hashsum,
            mimetype=_mimetype(name),
            ctime=time,
            mtime=time,
        )


def _mimetype(name: str) -> str:
    """Guess a file's type from its name, among the types that Metadata accepts."""
    mimetype, encoding = guess_type(name)
    if mimetype is None or encoding or mimetype.split("/")[0] not in _KNOWN_TYPES:
        return "application/octet-stream"
    return mimetype


class _Content:
    """A file's content, open only while it is read: there may be very many files."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._left = upload.size
        self._file: IO[bytes] | None = None

    def read(self, size: int) -> bytes:
        try:
            if self._file is None:
                flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
                self._file = os.fdopen(os.open(self._upload.file, flags), "rb")
            block = self._file.read(size)
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
            raise TransferError(f"{shown(self._upload.path)}: {problem}") from error
        self._left -= len(block)
        if len(block) < size:  # `size` never exceeds the rest of the announced size
            raise TransferError(f"{shown(self._upload.path)}: became shorter while it was read")
        if self._left <= 0:
            self.close()
        return block

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _walk(root: Path) -> Iterator[tuple[Path, str]]:
    if root.is_symlink():
        raise TransferError(f"{root.name}: is a link")
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            entries = list(folder.iterdir())
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
            raise TransferError(f"{shown(folder.name)}: {problem}") from error
        for entry in entries:
            path = entry.relative_to(root).as_posix()
            if not is_unicode(path):
                raise TransferError(f"{shown(path)}: has a name that is not Unicode")
            if entry.is_dir() and not entry.is_symlink():
                pending.append(entry)
            else:
                yield entry, path
