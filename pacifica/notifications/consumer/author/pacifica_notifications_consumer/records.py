"""The files of an event, with validated names, sizes and hashes."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from .errors import TransferError, shown

# Bytes of one name, in common file systems.
_LONGEST_NAME = 255
_LONGEST_PATH = 4096
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_IDENTIFIER = re.compile(r"[0-9A-Za-z_-]{1,100}")
# Names that Windows does not allow, or treats specially.
_WINDOWS = re.compile(r'[<>:"|?*]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


@dataclass(frozen=True)
class FileRecord:
    """A file of the event: its path below the folder of downloads, size and hash."""

    id: int | str
    path: str
    size: int
    hashtype: str
    hashsum: str


def files_of(event: Mapping[str, Any]) -> tuple[FileRecord, ...]:
    """Return the files of an event, in order; raise TransferError for invalid ones."""
    data = event.get("data")
    found = data if isinstance(data, list) else [data]
    records = tuple(_record(each) for each in found if _is_file(each))
    _require_distinct(records)
    return records


def is_unicode(name: str) -> bool:
    """Return whether a name can be encoded in UTF-8."""
    return not _SURROGATE.search(name)


def folders_of(paths: Iterator[str]) -> set[str]:
    """Return all parent folders of the paths."""
    folders: set[str] = set()
    for path in paths:
        while path := path.rpartition("/")[0]:
            folders.add(path)
    return folders


def _is_file(each: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(each, dict) and each.get("destinationTable") == "Files"


def _record(record: dict[str, Any]) -> FileRecord:
    path = _path(record)
    number, size = record.get("_id"), record.get("size")
    hashtype, hashsum = record.get("hashtype"), record.get("hashsum")
    if not _is_identifier(number):
        raise TransferError(f"{path}: the event has no _id of it")
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise TransferError(f"{path}: the event has no size of it")
    if not isinstance(hashtype, str) or not isinstance(hashsum, str):
        raise TransferError(f"{path}: the event has no hashtype and hashsum of it")
    try:
        digits = 2 * hashlib.new(hashtype, usedforsecurity=False).digest_size
    except (ValueError, TypeError) as error:  # TypeError: it has a NUL or a surrogate
        problem = f"the hashtype {shown(hashtype)!r} is unknown here"
        raise TransferError(f"{path}: {problem}") from error
    if not digits or not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", hashsum):
        raise TransferError(f"{path}: the hashsum is not one of {shown(hashtype)}")
    return FileRecord(number, path, size, hashtype, hashsum.lower())


def _is_identifier(number: Any) -> TypeGuard[int | str]:
    # Cart requests the file from the archive by a URL that ends with this id.
    is_number = isinstance(number, int) and not isinstance(number, bool)
    return is_number or (isinstance(number, str) and bool(_IDENTIFIER.fullmatch(number)))


def _path(record: dict[str, Any]) -> str:
    subdir, name = record.get("subdir", ""), record.get("name")
    if not isinstance(subdir, str) or not isinstance(name, str):
        raise TransferError("a file of the event has no name and subdir")
    path = f"{subdir.removesuffix('/')}/{name}" if subdir else name
    problem = next(filter(None, map(_problem, path.split("/"))), None)
    if "/" in name:
        problem = "its name has a '/'"
    elif len(path.encode("utf-8", "surrogatepass")) > _LONGEST_PATH:
        problem = "its path is too long"
    if problem:
        raise TransferError(f"{shown(path)}: refused, {problem}")
    return path


def _problem(part: str) -> str | None:
    """Return why a part of a path is refused; None if it is valid."""
    if part in ("", ".", ".."):
        return "its path is absolute, or has '.', '..' or nothing between two '/'"
    if "\\" in part or _DRIVE.match(part):
        return "its path has a drive or a backslash"
    if _CONTROL.search(part):
        return "its path has a control character"
    if not is_unicode(part):
        return "its path is not Unicode"
    if len(part.encode()) > _LONGEST_NAME:
        return "its path has a name that is too long"
    if os.name == "nt" and _WINDOWS.search(part):
        return "its path has a name that Windows cannot have"
    return None


def _require_distinct(records: tuple[FileRecord, ...]) -> None:
    folders = folders_of(os.path.normcase(each.path).replace("\\", "/") for each in records)
    seen: set[str] = set()
    for record in records:
        path = os.path.normcase(record.path).replace("\\", "/")
        if path in seen:
            raise TransferError(f"{record.path}: refused, the event has it twice")
        if path in folders:
            raise TransferError(f"{record.path}: refused, it is a folder of another file")
        seen.add(path)
