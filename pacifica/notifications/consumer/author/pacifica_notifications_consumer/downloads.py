"""`download`: gets the files of a notification through Cart."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from promise import Promise

from .carts import filled
from .configured import configured
from .errors import TransferError, concerning
from .failures import shown_in_one_line
from .records import FileRecord, files_of
from .tars import unpack

_NOTIFICATION = "notification.json"
# Bytes; the notifications service accepts no larger event.
_MOST_BYTES = 1 << 26
_DOWNLOADS = "downloads"
_UNFINISHED = ".downloads.unfinished"


def download(src: str | os.PathLike[str]) -> "Promise[dict[str, Any]]":
    """Download the files of `src/notification.json`, and promise its event.

    Each file is in `src/downloads/<subdir>/<name>`, and has the size and the hash of the event. The
    folder has all files or does not exist; it replaces the folder of an earlier run. The promise is
    settled when this returns; it is rejected with TransferError.
    """
    return Promise(lambda resolve, _reject: resolve(_downloaded(Path(src))))


def _downloaded(src: Path) -> dict[str, Any]:
    with shown_in_one_line(src):
        return _event_with_files(src)


def _event_with_files(src: Path) -> dict[str, Any]:
    event = _event(src / _NOTIFICATION)
    records = files_of(event)
    unfinished = src / _UNFINISHED
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            _fetch(records, unfinished)
            _replace(src / _DOWNLOADS, unfinished)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as error:
        raise TransferError(f"{_DOWNLOADS}: cannot be written: {error.strerror}") from error
    return event


def _fetch(records: tuple[FileRecord, ...], folder: Path) -> None:
    if records:
        paths = [record.path for record in records]
        with (
            concerning(paths),
            filled(records, configured()) as cart,
            cart.opened() as read,
        ):
            unpack(read, records, cart.roots, folder)


def _replace(folder: Path, finished: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    finished.rename(folder)


def _event(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise TransferError(f"{_NOTIFICATION}: cannot be read: {error.strerror}") from error
    if len(text) > _MOST_BYTES:
        raise TransferError(f"{_NOTIFICATION}: is larger than {_MOST_BYTES} bytes")
    try:
        event = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TransferError(f"{_NOTIFICATION}: is not JSON") from error
    if not isinstance(event, dict):
        raise TransferError(f"{_NOTIFICATION}: is not an event")
    return event
