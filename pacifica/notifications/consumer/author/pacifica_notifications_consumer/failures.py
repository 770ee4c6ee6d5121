"""Shows an uncaught TransferError as one line, with its traceback in a file."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from .errors import TransferError

#: The file with the traceback, in the folder of the transfer.
TRACEBACK = "failed-transfer.log"
_PRIVATE = 0o600

_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


@contextmanager
def shown_in_one_line(folder: Path) -> Iterator[None]:
    """Have a TransferError of the block, if it ends the program, be one line of output."""
    if not isinstance(sys.excepthook, _OneLine):
        sys.excepthook = _OneLine(sys.excepthook)
    try:
        yield
    except TransferError as error:
        error.folder = folder
        raise


class _OneLine:
    """A hook for uncaught exceptions; it leaves all others to the former hook."""

    def __init__(self, former: _Hook) -> None:
        self._former = former

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, TransferError) or error.folder is None:
            self._former(kind, error, trace)
            return
        path = error.folder / TRACEBACK
        try:
            _write_privately(path, "".join(traceback.format_exception(kind, error, trace)))
        except OSError as failed:
            where = f"{path} cannot be written: {failed.strerror}"
        else:
            where = f"traceback: {path}"
        print(f"transfer failed ({where}): {error}", file=sys.stderr)  # noqa: T201


def _write_privately(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # of an earlier attempt, or a link
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE)
    with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
