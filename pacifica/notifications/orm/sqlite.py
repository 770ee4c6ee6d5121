"""SQLite whose writers all get their turn, however many they are."""

import random
import time
from typing import Any

import peewee

# Seconds between two looks at whether the file is free.
_PAUSE = (0.001, 0.01)


class FairSqlite(peewee.SqliteDatabase):
    """SQLite that waits for `busy_timeout` seconds, and looks as often at the end as at first.

    By itself it looks every 0.1 seconds once it has waited for some time, so that those who have
    waited longest are overtaken by those who have just come, for seconds where they are many.
    """

    def __init__(self, database: str, *, busy_timeout: float, **options: Any) -> None:
        self._busy_timeout = busy_timeout
        super().__init__(database, **options)

    def begin(self, lock_type: str | None = None) -> None:
        """Begin a transaction; one that names its lock type waits as its connection says."""
        if lock_type is not None:
            super().begin(lock_type)
            return
        gives_up = time.monotonic() + self._busy_timeout
        self._wait_in_sqlite(0)
        try:
            while not self._begins(gives_up):
                time.sleep(random.uniform(*_PAUSE))  # noqa: S311
        finally:
            self._wait_in_sqlite(self._busy_timeout)

    def _begins(self, gives_up: float) -> bool:
        try:
            super().begin()
        except peewee.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > gives_up:
                raise
            return False
        return True

    def _wait_in_sqlite(self, seconds: float) -> None:
        self.execute_sql(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
