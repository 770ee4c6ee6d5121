"""Runs the entry point for waiting notifications, one after the other."""

import json
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pacifica.notifications import jsonpath
from pacifica.notifications.consumer.ledger import Mode, Run, State
from pacifica.notifications.consumer.processes import Orphans
from pacifica.notifications.consumer.program import Ended, ProgramLimits, run
from pacifica.notifications.consumer.workfolder import RunFolder, WorkFolder
from pacifica.notifications.errors import ExpressionError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class EntryPoint:
    """The program of a consumer, and its limits.

    `seconds` is how long a run may take. `log_bytes` is how much of its output is kept. `attempts`
    is how often an interrupted run is started. `kept` is how many ended runs are remembered.
    """

    python: str
    folder: str
    jsonpath: str
    seconds: float
    grace: float
    log_bytes: int
    attempts: int
    kept: int
    variables: dict[str, str] = field(repr=False)


class Runner:
    """Runs the notifications that wait in the ledger; several threads may use it."""

    def __init__(self, work: WorkFolder, entry: EntryPoint) -> None:
        self._work = work
        self._entry = entry
        self._expression = jsonpath.parse(entry.jsonpath)
        self._orphans = Orphans()
        self._limits = ProgramLimits(
            seconds=entry.seconds, grace=entry.grace, log_bytes=entry.log_bytes
        )

    def run_waiting(self) -> None:
        """Run waiting notifications, oldest first, until none waits or may start."""
        while (taken := self._work.ledger.claim()) is not None:
            try:
                self._run(taken)
            except Exception:  # noqa: BLE001 the edge of one run, which must not stop the others
                _LOG.exception("run %s failed", taken.uuid)
                self._work.ledger.end(taken.uuid, State.FAILED, "could not be run")
            self._work.ledger.forget_ended(self._entry.kept)

    def _run(self, taken: Run) -> None:
        ledger, folder = self._work.ledger, self._work.run(taken.uuid)
        if taken.attempts > self._entry.attempts:
            ledger.end(taken.uuid, State.FAILED, f"was interrupted {self._entry.attempts} times")
            return
        try:
            matches = self._matches(folder)
        except (ExpressionError, OSError, ValueError, RecursionError) as error:
            ledger.end(taken.uuid, State.FAILED, f"was not tested: {error}")
            return
        if not matches:
            ledger.end(taken.uuid, State.UNMATCHED)
            folder.remove()
            return
        ended = self._ended(taken, folder)
        if ledger.mode() is Mode.ENDING and ended.status != 0:
            ledger.give_back(taken.uuid)
        elif ended.status == 0:
            ledger.end(taken.uuid, State.DONE, ended.reason)
        else:
            ledger.end(taken.uuid, State.FAILED, ended.reason)
        _LOG.info("run %s: %s", taken.uuid, ended.reason)

    def _matches(self, folder: RunFolder) -> bool:
        notification: Any = json.loads(folder.notification.read_bytes())
        return jsonpath.find(self._expression, notification)

    def _ended(self, taken: Run, folder: RunFolder) -> Ended:
        return run(
            [self._entry.python, "__main__.py", str(folder.source), str(folder.destination)],
            folder=Path(self._entry.folder),
            environment=self._entry.variables,
            log=folder.log,
            limits=self._limits,
            started=partial(self._work.ledger.note_mark, taken.uuid),
            orphans=self._orphans,
        )
