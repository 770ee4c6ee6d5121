"""Brings a database of any version to this code's schema."""

import logging
import time
from contextlib import suppress
from itertools import pairwise

import peewee

from pacifica.notifications.config import load_settings, without_password
from pacifica.notifications.errors import SchemaMismatch, StoreUnavailable
from pacifica.notifications.orm import steps
from pacifica.notifications.orm.database import DB
from pacifica.notifications.orm.reencryption import encrypt_plain
from pacifica.notifications.orm.session import migration_session, step_transaction
from pacifica.notifications.orm.tables import Tables
from pacifica.notifications.orm.translation import reason, translated
from pacifica.notifications.orm.version import (
    NotificationSystem,
    mismatch,
    record_version,
    recorded_version,
)

_log = logging.getLogger(__name__)

_PAUSE = 0.02


class OrmSync:
    """The versions that the schema has had, and the way from each to the next."""

    versions = [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]  # noqa: RUF012 (a public name, a list)

    @staticmethod
    def dbconn_blocking() -> None:
        """Wait until the database can be reached; leaves this thread's connection open.

        Tries `connect_attempts` times, `connect_wait` seconds apart, then raises StoreUnavailable.
        """
        settings = load_settings()
        url = without_password(settings.database.peewee_url)
        for attempt in range(1, settings.database.connect_attempts + 1):
            try:
                _connect(settings.database.busy_timeout)
                return
            except peewee.PeeweeException as error:
                _log.warning(
                    "%s is not reached (try %d of %d): %s",
                    url,
                    attempt,
                    settings.database.connect_attempts,
                    reason(error),
                )
                if attempt == settings.database.connect_attempts:
                    raise StoreUnavailable(
                        f"{url} was not reached in {attempt} tries: {reason(error)}"
                    ) from error
            time.sleep(settings.database.connect_wait)

    @classmethod
    def update_tables(cls) -> bool:
        """Create or migrate the tables; True when they are at this code's version.

        Of several callers at once, in any process, one does it while the others wait. Where there
        is a key for it, secrets that are stored in plain are encrypted. Raises SchemaMismatch when
        the database is newer than this code, or StoreUnavailable.
        """
        with translated("the database was not migrated"):
            if cls._steps_from(NotificationSystem.get_version()):
                cls._migrate()
        with translated("not all auth was encrypted"):
            encrypt_plain()
        return True

    @classmethod
    def update_0_0_to_1_0(cls) -> None:
        """Create the table of subscriptions, unless an unversioned database has it."""
        with step_transaction():
            steps.add_subscriptions(Tables(DB.bound()))

    @classmethod
    def update_1_0_to_2_0(cls) -> None:
        """Add the authentication of subscriptions."""
        with step_transaction():
            steps.add_authentication(Tables(DB.bound()))

    @classmethod
    def update_2_0_to_3_0(cls) -> None:
        """Create the log of events and matches."""
        with step_transaction():
            steps.add_event_log(Tables(DB.bound()))

    @classmethod
    def update_3_0_to_4_0(cls) -> None:
        """Add what is due and when, and what workers agree on."""
        with step_transaction():
            steps.add_work_to_do(Tables(DB.bound()))

    @classmethod
    def _migrate(cls) -> None:
        with migration_session():
            for found, wanted in cls._steps_from(recorded_version()):
                _log.info("migrating the database from %d.%d to %d.%d", *found, *wanted)
                getattr(cls, "update_{}_{}_to_{}_{}".format(*found, *wanted))()
                record_version(wanted)

    @classmethod
    def _steps_from(cls, found: tuple[int, int]) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """Return the steps that a database at a version still has to take, as pairs."""
        if found not in cls.versions:
            raise SchemaMismatch(mismatch(found, "upgrade the program"))
        ahead = cls.versions[cls.versions.index(found) :]
        return list(pairwise(ahead))


def _connect(busy_timeout: float) -> None:
    """Open this thread's connection, or find that the open one works."""
    patience_ends = time.monotonic() + busy_timeout
    while True:
        was_open = not DB.is_closed()
        try:
            DB.connect(reuse_if_open=True)
            DB.execute_sql("SELECT 1")
            return
        except peewee.PeeweeException as error:
            with suppress(peewee.PeeweeException):
                DB.close()
            if was_open and DB.is_closed():  # it may have died long ago; a new one tells
                continue
            # SQLite itself does not wait when another program switches a file's journal mode.
            if reason(error) != "database is locked" or time.monotonic() > patience_ends:
                raise
        time.sleep(_PAUSE)
