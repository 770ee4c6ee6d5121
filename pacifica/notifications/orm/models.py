"""The tables: subscriptions, the log of events and matches, and what coordinates the workers.

Names of tables and columns that schema 3.0 had are kept; docs/decisions says why others were added.
"""

import json
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.jsonpath import parse
from pacifica.notifications.orm.database import DB
from pacifica.notifications.orm.secrets import SecretField
from pacifica.notifications.subscriptions import VERSION


class LongTextField(peewee.TextField):
    """Text without the 64 KiB limit that TEXT has on MySQL and MariaDB."""

    field_type = "LONGTEXT"


class BaseModel(peewee.Model):
    """A table in the service's database."""

    class Meta:
        """Bind every table to the one lazy database."""

        database = DB
        legacy_table_names = True

    @classmethod
    def atomic(cls) -> Any:
        """Return a context manager that runs its block in one transaction."""
        return DB.atomic()

    @classmethod
    def database_connect(cls) -> None:
        """Open this thread's connection unless it is open."""
        DB.connect(reuse_if_open=True)

    @classmethod
    def database_close(cls) -> None:
        """Close this thread's connection if it is open."""
        if not DB.is_closed():
            DB.close()


class EventMatch(BaseModel):
    """A subscription: which events (`jsonpath`) go to which `target_url`, for which `user`."""

    class Meta:
        """Count what a user has without what that user has deleted."""

        indexes = ((("user", "deleted"), False),)

    uuid = peewee.UUIDField(primary_key=True, default=uuid4)
    name = peewee.CharField(255, index=True)
    jsonpath = LongTextField()
    user = peewee.CharField(255, index=True)
    disabled = peewee.DateTimeField(null=True, index=True)
    error = LongTextField(null=True)
    target_url = LongTextField()
    version = peewee.CharField(255, default=VERSION)
    extensions = LongTextField(default="{}")
    auth = SecretField(null=True, default="{}")
    created = peewee.DateTimeField(default=utcnow, index=True)
    updated = peewee.DateTimeField(default=utcnow, index=True)
    deleted = peewee.DateTimeField(null=True, index=True)
    # True while an error has disabled it: what matches is then kept for it.
    holding = peewee.BooleanField(default=False)
    # When something that is held for it is handed on; null: nothing is, or its owner must act.
    held_due = peewee.DateTimeField(null=True, index=True)
    # The held delivery that is tried on behalf of all of them, and how many such tries there were.
    probe = peewee.UUIDField(null=True)
    probes = peewee.IntegerField(default=0)
    # The version of CloudEvents and the mode in which events are sent; empty: each event's own.
    specversion = peewee.CharField(8, default="")
    mode = peewee.CharField(16, default="structured")
    # Advanced by every change, so that workers read only what changed since they last looked.
    revision = peewee.BigIntegerField(default=0, index=True)

    def to_hash(self) -> dict[str, Any]:
        """Return the subscription as its owner reads it; dates are naive UTC ISO 8601."""
        return {
            "uuid": str(self.uuid),
            "name": self.name,
            "jsonpath": self.jsonpath,
            "user": self.user,
            "disabled": _iso(self.disabled),
            "error": self.error,
            "target_url": self.target_url,
            "version": self.version,
            "extensions": _json_object(self.extensions),
            "auth": _json_object(self.auth),
            "created": _iso(self.created),
            "updated": _iso(self.updated),
            "deleted": _iso(self.deleted),
        }

    def validate_jsonpath(self) -> bool:
        """Return True, or raise ValueError that says why `jsonpath` is not a JSONPath."""
        try:
            parse(self.jsonpath)
        except ExpressionError as error:
            raise ValueError(str(error)) from error
        return True


class EventLog(BaseModel):
    """A received event; `due` is when it may be dispatched, and null once that is done.

    `attempts` counts the workers that took it to dispatch it, `hops` the services like this one
    that it came through, `specversion` the version of CloudEvents that it names.
    """

    uuid = peewee.UUIDField(primary_key=True, default=uuid4)
    jsondata = LongTextField()
    created = peewee.DateTimeField(default=utcnow, index=True)
    due = peewee.DateTimeField(null=True, index=True)
    attempts = peewee.IntegerField(default=0)
    hops = peewee.IntegerField(default=0)
    specversion = peewee.CharField(8, default="")


class EventLogMatch(BaseModel):
    """One event for one subscription: what was answered, and what is to be done next.

    `state` is one of flow.State. `due` is when a worker may take it up: now, after a
    retry's wait, or when the lease of the worker that took it runs out; null: nothing is to do.
    `leased` is until when a worker may be sending it, also while it is held. `attempts` and
    `failing`, the time of the first failure, are those of the present state.
    """

    class Meta:
        """Find what a subscription has in a state, oldest first."""

        indexes = ((("state", "event_match", "created"), False),)

    uuid = peewee.UUIDField(primary_key=True, default=uuid4)
    event_log = peewee.ForeignKeyField(EventLog, backref="event_matches")
    event_log_id: UUID
    event_match = peewee.ForeignKeyField(EventMatch, backref="event_logs")
    event_match_id: UUID
    policy_status_code = LongTextField(default="")
    policy_resp_body = LongTextField(default="")
    target_status_code = LongTextField(default="")
    target_resp_body = LongTextField(default="")
    created = peewee.DateTimeField(default=utcnow, index=True)
    state = peewee.CharField(16)
    due = peewee.DateTimeField(null=True, index=True)
    leased = peewee.DateTimeField(null=True)
    attempts = peewee.IntegerField(default=0)
    failing = peewee.DateTimeField(null=True)
    updated = peewee.DateTimeField(default=utcnow)


class Counter(BaseModel):
    """A number that only grows; `subscriptions` is the revision of all subscriptions together."""

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationcounter"

    name = peewee.CharField(64, primary_key=True)
    value = peewee.BigIntegerField()


class Lease(BaseModel):
    """A duty that one worker at a time has, until `expires`."""

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationlease"

    name = peewee.CharField(64, primary_key=True)
    expires = peewee.DateTimeField()


class Identity(BaseModel):
    """Which event was the first of its source and id; `digest` is of both, in hexadecimal."""

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationidentity"

    digest = peewee.CharField(64, primary_key=True)
    event = peewee.UUIDField()
    created = peewee.DateTimeField(default=utcnow, index=True)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")


def _json_object(text: str | None) -> Any:
    """Return the object of a JSON column; null and what old versions left broken read as empty."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
