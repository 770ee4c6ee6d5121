"""What a benchmark found: a table as it comes, and the same figures as JSON and as text to keep."""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.peers import nginx_path
from tests.benchmarks.replaced import CACHE

_LABEL = 46
_CELL = 16
_STAND_IN = "a small server in Python, slower than nginx, which is not installed"
Figures = Mapping[str, float]


class Report:
    """A table whose rows are printed when they are known.

    `columns` gives the head of each figure, with its unit. What is printed is kept as text too.
    Without `peers`, nothing is sent to Policy or a target.
    """

    def __init__(
        self, name: str, what: str, columns: Mapping[str, str], *, peers: bool = True
    ) -> None:
        self.name = name
        self.rows: dict[str, dict[str, Any]] = {}
        self._what = what
        self._columns = columns
        self._lines: list[str] = []
        self._notes: list[str] = []
        self._load = os.getloadavg()
        self.say(what)
        self.say(machine())
        if peers:
            self.say(f"Policy and targets: {'nginx' if nginx_path() else _STAND_IN}")
        self._busy = busy()
        self.say(
            f"before anything was started: processors {100 * self._busy:.0f}% busy, "
            f"load average {loads(self._load)} (1, 5 and 15 minutes)"
        )
        self.say()
        heads = "".join(f"{head:>{_CELL}}" for head in columns.values())
        self.say(f"{'':<{_LABEL}}{heads}")

    def say(self, line: str = "") -> None:
        """Print a line at once, also into a pipe, and keep it."""
        self._lines.append(line.rstrip())
        print(line.rstrip(), flush=True)

    def row(self, label: str, runs: Sequence[Figures], **facts: str | float) -> Figures:
        """Print the medians of some runs as a row, and return them; `facts` are kept with them."""
        median = {
            name: statistics.median(run[name] for run in runs)
            for name in self._columns
            if all(name in run for run in runs)
        }
        self.rows[label] = {**facts, **median, "runs": [dict(run) for run in runs]}
        cells = (shown(median[name]) if name in median else "" for name in self._columns)
        self.say(f"{label:<{_LABEL}}" + "".join(f"{cell:>{_CELL}}" for cell in cells))
        return median

    def note(self, line: str) -> None:
        """Print what a reader of the table should know, and keep it with the figures."""
        self._notes.append(line)
        self.say(line)

    def ratio(self, label: str, base: str, name: str) -> None:
        """Print one row's figure as a multiple of another's."""
        if base in self.rows and label in self.rows and self.rows[base][name]:
            times = self.rows[label][name] / self.rows[base][name]
            self.note(f"{label}: {shown(times)} times {base} in {self._columns[name]}")

    def finish(self, args: argparse.Namespace) -> None:
        """Say what ran beside, and write what the options of the command line ask for."""
        after = os.getloadavg()
        self.say()
        self.say(f"load average after: {loads(after)}, this benchmark's own included")
        document = {
            "name": self.name,
            "what": self._what,
            "command": " ".join(["python", "-m", f"tests.benchmarks.{self.name}", *sys.argv[1:]]),
            "machine": machine(),
            "ended": datetime.now(UTC).isoformat(timespec="seconds"),
            "busy_before": self._busy,
            "load_before": self._load,
            "load_after": after,
            "columns": dict(self._columns),
            "rows": self.rows,
            "notes": self._notes,
        }
        text = json.dumps(document, indent=1) + "\n"
        if args.json:
            args.json.write_text(text)
        if args.save:
            args.save.mkdir(parents=True, exist_ok=True)
            (args.save / f"{self.name}.json").write_text(text)
            (args.save / f"{self.name}.txt").write_text("\n".join(self._lines).strip() + "\n")


def parser(
    docstring: str | None, repeat: int = 3, *, compares: bool = True
) -> argparse.ArgumentParser:
    """Give a parser with the options of every benchmark, and of those that compare with 0.5.2."""
    made = argparse.ArgumentParser(description=(docstring or "").partition("\n")[0])
    made.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file")
    made.add_argument("--save", type=Path, metavar="FOLDER", help="keep table and figures there")
    made.add_argument("--repeat", type=int, default=repeat, help=f"runs (default: {repeat})")
    if compares:
        made.add_argument("--no-old", action="store_true", help="leave 0.5.2 out")
        made.add_argument("--cache", type=Path, default=CACHE, help="where 0.5.2 is installed")
    return made


def machine() -> str:
    """Say in one line what everything ran on."""
    return (
        f"{len(os.sched_getaffinity(0))} cores shared by all that runs, "
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"Celery {version('celery')}"
    )


def busy(seconds: float = 1.0) -> float:
    """Watch the machine for so long and return the share of processor time that was used."""

    def spent() -> tuple[int, int]:
        fields = [int(field) for field in Path("/proc/stat").read_text().split()[1:9]]
        idle = fields[3] + fields[4]  # waiting for a disk is idle too
        return sum(fields) - idle, sum(fields)

    used, passed = spent()
    time.sleep(seconds)
    used_then, passed_then = spent()
    return (used_then - used) / max(passed_then - passed, 1)


def loads(averages: Sequence[float]) -> str:
    return " ".join(f"{each:.2f}" for each in averages)


def shown(value: float) -> str:
    """Write a figure with the digits that mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which a share of the values lies; 0 where there are none."""
    ordered = sorted(values) or [0.0]
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
