"""The database, its tables and their migrations.

Other packages import everything from here. `database` holds `DB`, the one database that all tables
are bound to. It uses `engines` (with `pool`, `mysql` and `postgresql`) and the keys in `secrets`.
`models`, `history` and `mail` define the tables, and `transaction` runs the functions that use
them.
`schema` checks the version of a database, and migrates it by the steps in `migrations`, with the
changes in `tables`. `reencryption` rewrites stored secrets.
"""

from pacifica.notifications.orm.database import DB, Database, open_database
from pacifica.notifications.orm.history import Attempt, AuditEntry, Job, Revision
from pacifica.notifications.orm.mail import Agreement, Digest, MailCount, Notice
from pacifica.notifications.orm.models import (
    BaseModel,
    Counter,
    DeferredMatch,
    EventLog,
    EventLogMatch,
    EventMatch,
    FirstEvent,
    HeldAction,
    Lock,
    Statistic,
    WorkerProcess,
    insert_rows,
)
from pacifica.notifications.orm.reencryption import decrypt_all, encrypt_all
from pacifica.notifications.orm.schema import (
    SCHEMA_MAJOR,
    SCHEMA_MINOR,
    NotificationSystem,
    OrmSync,
    check_safe,
    check_version,
    require_database,
)
from pacifica.notifications.orm.transaction import reading, single_statement, writing

__all__ = [
    "DB",
    "SCHEMA_MAJOR",
    "SCHEMA_MINOR",
    "Agreement",
    "Attempt",
    "AuditEntry",
    "BaseModel",
    "Counter",
    "Database",
    "DeferredMatch",
    "Digest",
    "EventLog",
    "EventLogMatch",
    "EventMatch",
    "FirstEvent",
    "HeldAction",
    "Job",
    "Lock",
    "MailCount",
    "Notice",
    "NotificationSystem",
    "OrmSync",
    "Revision",
    "Statistic",
    "WorkerProcess",
    "check_safe",
    "check_version",
    "decrypt_all",
    "encrypt_all",
    "insert_rows",
    "open_database",
    "reading",
    "require_database",
    "single_statement",
    "writing",
]
