"""Extracts exactly the requested files from the tar stream of a cart."""

import hashlib
import tarfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO

from .errors import ServiceError, TransferError, shown
from .records import FileRecord, folders_of

# Bytes that a tar may have for a file in addition to its content: headers and padding.
_HEADERS = 1 << 16
_BLOCK = 1 << 16
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
# The errors of tarfile for an invalid tar; its documentation names only the first one.
_BROKEN = (tarfile.TarError, ValueError, LookupError, OverflowError, EOFError)


def unpack(
    read: Callable[[int], bytes],
    records: Sequence[FileRecord],
    roots: Collection[str],
    folder: Path,
) -> None:
    """Write the files of the records to an empty folder, each to its record's path.

    `read` returns at most a number of bytes of the tar, whose members are below one of `roots`.
    Raises TransferError for a member that was not requested, is not a file or differs from its
    record, and for a missing one. No more bytes are written than the records specify.
    """
    missing = {record.path: record for record in records}
    folders = folders_of(iter(missing)) | {""}
    stream = _Stream(read)
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_BLOCK) as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                path = _below(member.name, roots)
                if member.isdir() and path in folders:
                    folders.discard(path)
                elif path in missing:
                    _take(tar, member, missing.pop(path), stream, folder)
                else:
                    raise ServiceError(
                        "Cart", f"sent {shown(member.name)!r}, which nobody asked for"
                    )
                stream.allow(_HEADERS)
    except _BROKEN as error:
        raise ServiceError("Cart", f"sent a broken tar ({shown(str(error))})") from error
    for path in missing:
        raise TransferError(f"{path}: Cart did not send it")


class _Stream:
    """The stream for tarfile, limited to the allowed bytes, whatever a header says."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.allow(_HEADERS)

    def allow(self, size: int) -> None:
        # tarfile reads ahead by one block.
        self._left = size + _BLOCK

    def read(self, size: int) -> bytes:
        chunk = self._read(min(size, _BLOCK))
        self._left -= len(chunk)
        if self._left < 0:
            raise ServiceError("Cart", "sent more than was asked for")
        return chunk


def _below(name: str, roots: Collection[str]) -> str | None:
    root, _, path = name.partition("/")
    return path if root in roots else None


def _take(
    tar: tarfile.TarFile, member: tarfile.TarInfo, record: FileRecord, stream: _Stream, folder: Path
) -> None:
    if member.type not in _REGULAR or member.issparse():
        raise TransferError(f"{record.path}: Cart sent something that is no file")
    if member.size != record.size:
        sizes = f"{member.size} bytes, and not {record.size}"
        raise TransferError(f"{record.path}: what Cart sent has {sizes}")
    stream.allow(member.size + _HEADERS)
    content = tar.extractfile(member)
    assert content is not None  # noqa: S101 it is a file
    with content:
        hashsum = _write(content, folder.joinpath(*record.path.split("/")), record)
    if hashsum != record.hashsum:
        raise TransferError(
            f"{record.path}: what Cart sent has the {record.hashtype} {hashsum}, "
            f"and not {record.hashsum}"
        )


def _write(content: IO[bytes], target: Path, record: FileRecord) -> str:
    digest = hashlib.new(record.hashtype, usedforsecurity=False)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            while block := content.read(_BLOCK):
                file.write(block)
                digest.update(block)
    except OSError as error:
        problem = f"cannot be written: {error.strerror or error}"
        raise TransferError(f"{record.path}: {problem}") from error
    return digest.hexdigest()
