"""The storage layer's foundation: the database handle, the tables and their migrations."""

from pacifica.notifications.orm.database import DB
from pacifica.notifications.orm.models import (
    BaseModel,
    Counter,
    EventLog,
    EventLogMatch,
    EventMatch,
    Lease,
)
from pacifica.notifications.orm.reencryption import decrypt_all, encrypt_all
from pacifica.notifications.orm.schema import OrmSync
from pacifica.notifications.orm.version import (
    SCHEMA_MAJOR,
    SCHEMA_MINOR,
    NotificationSystem,
    check_safe,
)

__all__ = [
    "DB",
    "SCHEMA_MAJOR",
    "SCHEMA_MINOR",
    "BaseModel",
    "Counter",
    "EventLog",
    "EventLogMatch",
    "EventMatch",
    "Lease",
    "NotificationSystem",
    "OrmSync",
    "check_safe",
    "decrypt_all",
    "encrypt_all",
]
