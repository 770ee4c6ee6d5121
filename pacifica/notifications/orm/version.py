"""The version of the database's schema, and whether this code can work on it."""

import peewee

from pacifica.notifications.errors import SchemaMismatch
from pacifica.notifications.orm.models import BaseModel
from pacifica.notifications.orm.reencryption import require_keys
from pacifica.notifications.orm.transaction import reading, writing
from pacifica.notifications.orm.translation import translated

SCHEMA_MAJOR = 4
SCHEMA_MINOR = 0


class NotificationSystem(BaseModel):
    """The recorded version, in two rows: `major` and `minor`."""

    part = peewee.CharField(primary_key=True)
    value = peewee.IntegerField()

    @classmethod
    def get_version(cls) -> tuple[int, int]:
        """Return the recorded version; (0, 0) without the table. Raises StoreUnavailable."""
        with translated("the schema's version was not read"):
            return reading(recorded_version)()

    @classmethod
    def get_or_create_version(cls) -> tuple[int, int]:
        """Return the recorded version; a table that has none yet is given this code's.

        Returns (0, 0) without the table, and does not create it. Raises StoreUnavailable.
        """
        with translated("the schema's version was not recorded"):
            return writing(_recorded_or_ours)()

    @classmethod
    def is_equal(cls) -> bool:
        """Tell whether the database has exactly this code's version."""
        return cls.get_version() == (SCHEMA_MAJOR, SCHEMA_MINOR)

    @classmethod
    def is_safe(cls) -> bool:
        """Tell whether this code can work on the database: the major version is the same."""
        return cls.get_version()[0] == SCHEMA_MAJOR


def check_safe() -> None:
    """Raise SchemaMismatch, which says what to do, unless the database is safe for this code.

    Raises StoreUnavailable where it holds what is encrypted by a key that is not configured.
    """
    found = NotificationSystem.get_version()
    if found[0] == SCHEMA_MAJOR:
        require_keys()
        return
    if found > (SCHEMA_MAJOR, SCHEMA_MINOR):
        raise SchemaMismatch(mismatch(found, "upgrade the program"))
    raise SchemaMismatch(mismatch(found, "run `pacifica-notifications-cmd dbsync`"))


def mismatch(found: tuple[int, int], remedy: str) -> str:
    """Say, in one line, which version was found, which is needed, and what to do."""
    return (
        f"the database has schema version {found[0]}.{found[1]} and this program needs "
        f"{SCHEMA_MAJOR}.{SCHEMA_MINOR}: {remedy}"
    )


def recorded_version() -> tuple[int, int]:
    """Return the recorded version as part of the caller's session; (0, 0) if there is none."""
    if not NotificationSystem.table_exists():
        return (0, 0)
    parts = {row.part: row.value for row in NotificationSystem.select()}
    return (parts.get("major", 0), parts.get("minor", 0))


def record_version(version: tuple[int, int]) -> None:
    """Record a version, in one transaction, so that no reader ever sees half of it."""
    major, minor = version
    rows = [{"part": "major", "value": major}, {"part": "minor", "value": minor}]
    with NotificationSystem.atomic():
        NotificationSystem.delete().execute()
        NotificationSystem.insert_many(rows).execute()


def _recorded_or_ours() -> tuple[int, int]:
    if NotificationSystem.table_exists() and not NotificationSystem.select().exists():
        record_version((SCHEMA_MAJOR, SCHEMA_MINOR))
    return recorded_version()
