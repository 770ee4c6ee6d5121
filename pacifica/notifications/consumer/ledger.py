"""The record of a consumer's notifications and their runs, in one SQLite file.

The ledger decides what to run; a message of the queue only says that something may be waiting. The
notification itself is in the folder of its run, which is written before its row in the ledger.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

_PRIVATE = 0o600
# Seconds that one process waits while another one writes.
_BUSY = 4.0
_ENDED = "state IN ('done', 'failed', 'unmatched')"
_TABLES = (
    """CREATE TABLE IF NOT EXISTS runs (
        uuid TEXT PRIMARY KEY,
        received REAL NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        mark TEXT,
        began REAL,
        ended REAL,
        outcome TEXT NOT NULL DEFAULT '',
        event TEXT NOT NULL DEFAULT '{}'
    )""",
    "CREATE INDEX IF NOT EXISTS runs_by_state ON runs (state, received)",
    "CREATE TABLE IF NOT EXISTS mode (name TEXT NOT NULL)",
)
_COLUMNS = "uuid, received, state, attempts, mark, began, ended, outcome, event"
# A ledger of an earlier build has no such column.
_ADD_EVENT = "ALTER TABLE runs ADD COLUMN event TEXT NOT NULL DEFAULT '{}'"


class State(StrEnum):
    """The state of a notification's run."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNMATCHED = "unmatched"


class Mode(StrEnum):
    """Whether runs may start (open), only finish (closing), or are ended (ending)."""

    OPEN = "open"
    CLOSING = "closing"
    ENDING = "ending"


@dataclass(frozen=True)
class Run:
    """One notification; times are seconds since 1970.

    `mark` is a value in the environment of the entry point's processes while it runs. `attempts`
    counts how often the run was started. `event` has the event's id, type and source.
    """

    uuid: UUID
    received: float
    state: State
    attempts: int
    mark: str | None
    began: float | None
    ended: float | None
    outcome: str
    event: dict[str, str | None]


class Ledger:
    """The ledger in a file; any number of threads and processes may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def prepare(self) -> None:
        """Create the file and tables if absent; runs may start only after `switch`."""
        # An existing file must not be opened: closing it would release SQLite's locks (POSIX).
        with suppress(FileExistsError):
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, _PRIVATE))
        with self._reading() as connection:
            connection.execute("PRAGMA journal_mode = wal")  # readers do not wait for writers
        with self._writing() as connection:
            for statement in _TABLES:
                connection.execute(statement)
            columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(runs)")]
            if "event" not in columns:
                connection.execute(_ADD_EVENT)
        self.switch(Mode.CLOSING)

    def switch(self, mode: Mode) -> None:
        """Set whether runs may start."""
        with self._writing() as connection:
            connection.execute("DELETE FROM mode")
            connection.execute("INSERT INTO mode VALUES (?)", (mode,))

    def mode(self) -> Mode:
        """Return whether runs may start."""
        with self._reading() as connection:
            ((name,),) = connection.execute("SELECT name FROM mode")
        return Mode(name)

    def add(self, uuid: UUID, max_waiting: int, event: Mapping[str, str | None]) -> bool:
        """Record a notification to be run; return False if `max_waiting` wait already.

        `event` has its id, type and source.
        The record is on disk when this returns.
        """
        with self._writing() as connection:
            ((waiting,),) = connection.execute("SELECT count(*) FROM runs WHERE state = 'waiting'")
            if waiting < max_waiting:
                values = (str(uuid), time.time(), State.WAITING, json.dumps(event))
                connection.execute(
                    "INSERT INTO runs (uuid, received, state, event) VALUES (?, ?, ?, ?)", values
                )
        return waiting < max_waiting

    def claim(self) -> Run | None:
        """Claim the run that has waited longest; None if none waits or may start."""
        with self._writing() as connection:
            rows = connection.execute(
                f"UPDATE runs SET state = 'running', attempts = attempts + 1, began = ?, "  # noqa: S608
                "mark = NULL WHERE uuid = (SELECT uuid FROM runs, mode WHERE "
                "state = 'waiting' AND mode.name = 'open' ORDER BY received LIMIT 1) "
                f"RETURNING {_COLUMNS}",
                (time.time(),),
            ).fetchall()
        return _run(rows[0]) if rows else None

    def note_mark(self, uuid: UUID, mark: str) -> None:
        """Record the mark of a run's processes, by which they can be ended."""
        with self._writing() as connection:
            connection.execute("UPDATE runs SET mark = ? WHERE uuid = ?", (mark, str(uuid)))

    def end(self, uuid: UUID, state: State, outcome: str = "") -> None:
        """Record how a run ended."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE runs SET state = ?, outcome = ?, ended = ?, mark = NULL WHERE uuid = ?",
                (state, outcome, time.time(), str(uuid)),
            )

    def give_back(self, uuid: UUID) -> None:
        """Return an interrupted run to the waiting ones."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE runs SET state = 'waiting', mark = NULL WHERE uuid = ?", (str(uuid),)
            )

    def forget_ended(self, keep: int) -> list[UUID]:
        """Delete the records of ended runs except the newest, and return their ids."""
        with self._writing() as connection:
            rows = connection.execute(
                f"DELETE FROM runs WHERE {_ENDED} AND uuid NOT IN (SELECT uuid FROM runs "  # noqa: S608
                f"WHERE {_ENDED} ORDER BY received DESC LIMIT ?) RETURNING uuid",
                (keep,),
            ).fetchall()
        return [UUID(text) for (text,) in rows]

    def is_known(self, uuid: UUID) -> bool:
        """Return whether a run exists."""
        with self._reading() as connection:
            query = connection.execute("SELECT 1 FROM runs WHERE uuid = ?", (str(uuid),))
            return query.fetchone() is not None

    def counts(self) -> dict[str, int]:
        """Return the number of runs in each state."""
        with self._reading() as connection:
            found = dict(connection.execute("SELECT state, count(*) FROM runs GROUP BY state"))
        return {state: found.get(state, 0) for state in State}

    def running(self) -> list[Run]:
        """Return the runs that have started and not ended."""
        return self._listed("WHERE state = 'running' ORDER BY received", ())

    def newest(self, limit: int) -> list[Run]:
        """Return the runs that came last, newest first."""
        return self._listed("ORDER BY received DESC LIMIT ?", (limit,))

    def _listed(self, rest: str, values: tuple[object, ...]) -> list[Run]:
        with self._reading() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM runs {rest}", values).fetchall()  # noqa: S608
        return [_run(row) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.execute("PRAGMA synchronous = full")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")


def _run(row: tuple[Any, ...]) -> Run:
    uuid, received, state, *others = row
    others[-1] = json.loads(others[-1])
    return Run(UUID(uuid), received, State(state), *others)
