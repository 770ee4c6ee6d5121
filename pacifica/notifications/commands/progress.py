"""Shows how far a command is, if it takes long: a bar on a terminal, lines elsewhere."""

import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

# Seconds after which a command takes long, and between two lines or two drawings of the bar.
_LONG, _LINE_EVERY, _DRAW_EVERY = 2.0, 10.0, 0.2


class Progress:
    """Counts what a command has done, and shows it from a thread on stderr.

    So it is shown, too, while the command waits for one statement.
    """

    def __init__(self, what: str, unit: str, stream: TextIO | None = None) -> None:
        self._what = what
        self._unit = unit
        self._stream = stream or sys.stderr
        self._count = 0
        self._total: int | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, name="progress", daemon=True)

    def reached(self, count: int, total: int | None = None, what: str | None = None) -> None:
        """Note how much is done, of how much in all, and what is being done now."""
        self._count, self._total = count, total
        self._what = what or self._what

    def __enter__(self) -> Self:
        """Begin."""
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Remove the bar."""
        self._ended.set()
        self._thread.join()

    def _show(self) -> None:
        if self._ended.wait(_LONG):
            return
        if self._stream.isatty():
            self._draw_bar()
        else:
            self._print_lines()

    def _draw_bar(self) -> None:
        # Imported here, because it reads the environment when it is imported.
        from tqdm import tqdm

        with tqdm(file=self._stream, unit=f" {self._unit}", leave=False) as bar:
            bar.start_t -= _LONG
            while True:
                bar.total, bar.n = self._total, self._count
                bar.set_description(self._what)  # draws it
                if self._ended.wait(_DRAW_EVERY):
                    return

    def _print_lines(self) -> None:
        while True:
            of = "" if self._total is None else f" of {self._total:,}"
            seconds = time.monotonic() - self._began
            line = f"{self._what}: {self._count:,}{of} {self._unit} after {seconds:.0f} s"
            print(line, file=self._stream, flush=True)
            if self._ended.wait(_LINE_EVERY):
                return
