"""The tables: subscriptions, events and matches, and the coordination of workers.

The names of schema 3.0 are kept; docs/decisions explains why others were added.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from enum import Enum, auto
from functools import cache
from typing import Any
from uuid import UUID, uuid4

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.flow import Cause, State
from pacifica.notifications.jsonpath import parse
from pacifica.notifications.orm.database import DB
from pacifica.notifications.orm.secrets import CorruptToken
from pacifica.notifications.subscriptions import SUBSCRIPTION_VERSION

_VALUES_PER_STATEMENT = 5000
_UNLESS_STORED = "ON CONFLICT DO NOTHING"
_UNLESS_STORED_MYSQL = "ON DUPLICATE KEY UPDATE {key} = {key}"


class LongTextField(peewee.TextField):
    """Text without the 64 KiB limit that TEXT has on MySQL and MariaDB."""

    field_type = "LONGTEXT"


class SecretField(LongTextField):
    """Text that is encrypted in the database and plain in the program.

    If a text cannot be decrypted, the stored text is returned, which is not JSON.
    """

    def db_value(self, value: str | None) -> str | None:
        """Encrypt a value for storage."""
        return value and DB.handle().keyring.encrypted(value)

    def python_value(self, value: str | None) -> str | None:
        """Decrypt a stored value; raise StoreUnavailable if its key is not configured."""
        try:
            return value and DB.handle().keyring.decrypted(value)
        except CorruptToken:
            return value


class HeldAction(Enum):
    """What happens to a subscription's held deliveries at `held_due`."""

    RELEASE = auto()  # held deliveries are released, some at a time
    PROBE = auto()  # one held delivery is sent; the others are released when it succeeds


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
        """Open this thread's connection if it is not open."""
        DB.connect(reuse_if_open=True)

    @classmethod
    def database_close(cls) -> None:
        """Close this thread's connection if it is open."""
        if not DB.is_closed():
            DB.close()


class EventMatch(BaseModel):
    """A subscription: which events (`jsonpath`) go to which `target_url`, for which `user`."""

    class Meta:
        """Index a user's subscriptions that are not deleted, to count and list them."""

        indexes = (
            (("user", "deleted", "created", "uuid"), False),
            (("user", "deleted", "holding", "created", "uuid"), False),
        )

    uuid = peewee.UUIDField(primary_key=True, default=uuid4)
    name = peewee.CharField(255, index=True)
    jsonpath = LongTextField()
    user = peewee.CharField(255, index=True)
    disabled = peewee.DateTimeField(null=True, index=True)
    error = LongTextField(null=True)
    target_url = LongTextField()
    version = peewee.CharField(255, default=SUBSCRIPTION_VERSION)
    extensions = LongTextField(default="{}")
    auth = SecretField(null=True, default="{}")
    created = peewee.DateTimeField(default=utcnow, index=True)
    updated = peewee.DateTimeField(default=utcnow, index=True)
    deleted = peewee.DateTimeField(null=True, index=True)
    # True while the subscription is disabled by an error; new matches are then held.
    holding = peewee.BooleanField(default=False)
    # True while the subscription is disabled by its JSONPath; new events are then not matched.
    unmatched = peewee.BooleanField(default=False)
    # When held deliveries are released or probed; null: nothing is held, or the owner must act.
    held_due = peewee.DateTimeField(null=True, index=True)
    # The held delivery that is sent as the probe.
    probe = peewee.UUIDField(null=True)
    # The number of the probe that is due at `held_due`, from 1; 0: a release is due instead.
    probes = peewee.IntegerField(default=0)
    # The version of CloudEvents in which events are sent; empty: each event's own version.
    specversion = peewee.CharField(8, default="")
    mode = peewee.CharField(16, default="structured")
    # What a webhook is sent, and how many events come in one mail (see subscriptions.format).
    format = peewee.CharField(16, default="event")
    digest = peewee.CharField(16, default="each")
    # Whether its owner gets a mail when it fails.
    tell_owner = peewee.BooleanField(default=True)
    # Every change advances it, so that workers read only what has changed.
    revision = peewee.BigIntegerField(default=0, index=True)

    @property
    def held_action(self) -> HeldAction:
        """Whether held deliveries are released or probed when they are due."""
        return HeldAction.PROBE if self.probes else HeldAction.RELEASE

    def release_at(self, due: datetime | None) -> None:
        """Schedule the release of held deliveries; None cancels it."""
        self.probe, self.probes, self.held_due = None, 0, due

    def probe_at(self, due: datetime, number: int = 1) -> None:
        """Schedule the probe of this number, with the oldest held delivery."""
        self.probe, self.probes, self.held_due = None, number, due

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
        """Return True, or raise ValueError with the reason why `jsonpath` is invalid."""
        try:
            parse(self.jsonpath)
        except ExpressionError as error:
            raise ValueError(str(error)) from error
        return True


class EventLog(BaseModel):
    """A received event; `due` is when to dispatch it, and null afterwards.

    `attempts` counts how often workers claimed it. `hops` counts the notification services that
    forwarded it. `specversion` is the version of CloudEvents that it names. `revision` is that of
    the subscriptions that it was matched with. `settlement` is one of flow.Settlement; null: it did
    not wait for Pacifica Metadata. `settle_due` is when Metadata is asked about it next; null:
    never. `settled` is when it went on. The columns that begin with `event_` are the
    beginnings of its attributes, and `transaction_id` is the transaction that it reports. `owner`
    is the only user who may see an event of the service's own; null: Policy says who may.
    """

    class Meta:
        """Index the events of a type and of a source by time."""

        indexes = (
            (("event_type", "created"), False),
            (("event_source", "created"), False),
        )

    uuid = peewee.UUIDField(primary_key=True, default=uuid4)
    jsondata = LongTextField()
    created = peewee.DateTimeField(default=utcnow, index=True)
    due = peewee.DateTimeField(null=True, index=True)
    attempts = peewee.IntegerField(default=0)
    hops = peewee.IntegerField(default=0)
    specversion = peewee.CharField(8, default="")
    revision = peewee.BigIntegerField(null=True)
    event_type = peewee.CharField(255, default="")
    event_source = peewee.CharField(255, default="")
    event_id = peewee.CharField(255, default="", index=True)
    event_time = peewee.CharField(64, default="")
    transaction_id = peewee.BigIntegerField(null=True, index=True)
    settlement = peewee.CharField(16, null=True)
    settle_due = peewee.DateTimeField(null=True, index=True)
    settled = peewee.DateTimeField(null=True)
    owner = peewee.CharField(255, null=True)


class EventLogMatch(BaseModel):
    """The delivery of one event to one subscription, with its responses and state.

    `state` is one of flow.State. `due` is when a worker may claim it: now, after the wait before a
    retry, or when the lease of its worker ends. It is null if there is nothing to do. `leased` is
    the time until which a worker may be sending it, even while it is held. `attempts` and `failing`
    (the time of the first failure) belong to the current state. `tries` counts all attempts on
    record, and `cause` is why the next one is made (see flow.Cause).

    A delivery that is pulled is nobody's work. `fetch_id` is the fetch that it was handed out by
    last, at `fetched`, and `leased` is until when it is not handed out again.
    """

    class Meta:
        """Index a subscription's deliveries by state, oldest first."""

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
    created = peewee.DateTimeField(default=utcnow)
    # A row that another program adds is no work to do.
    state = peewee.CharField(16, default=State.FAILED)
    due = peewee.DateTimeField(null=True, index=True)
    leased = peewee.DateTimeField(null=True)
    attempts = peewee.IntegerField(default=0)
    failing = peewee.DateTimeField(null=True)
    updated = peewee.DateTimeField(default=utcnow)
    tries = peewee.IntegerField(default=0)
    cause = peewee.CharField(16, default=Cause.AUTOMATIC)
    fetch_id = peewee.UUIDField(null=True)
    fetched = peewee.DateTimeField(null=True)


class DeferredMatch(BaseModel):
    """An event that is matched later with some subscriptions of a user.

    `subscriptions` are their UUIDs in hexadecimal. `due` is when a worker may claim it; null: it
    waits for an owner. `since` is how long it has waited, for a worker or for an owner.
    """

    class Meta:
        """Name the table for the service, and let what waits for an owner be found."""

        table_name = "notificationdeferred"
        legacy_table_names = False  # so that the indexes are named for the table, too
        indexes = ((("user", "due", "since"), False),)

    uuid = peewee.UUIDField(primary_key=True, default=uuid4)
    event = peewee.UUIDField(index=True)
    user = peewee.CharField(255)
    subscriptions = LongTextField()
    due = peewee.DateTimeField(null=True, index=True)
    since = peewee.DateTimeField(default=utcnow)


class Counter(BaseModel):
    """A growing number; `subscriptions` is the revision of all subscriptions."""

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationcounter"

    name = peewee.CharField(64, primary_key=True)
    value = peewee.BigIntegerField()


class Lock(BaseModel):
    """A named lock that one worker at a time holds, until `expires`."""

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationlease"

    name = peewee.CharField(64, primary_key=True)
    expires = peewee.DateTimeField()


class FirstEvent(BaseModel):
    """The first event with a source and id; `digest` is a hash of both, in hexadecimal.

    `copies` counts the events with the same source and id that were not stored, and `copied` is
    when the last of them came.
    """

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationidentity"
        legacy_table_names = False  # so that the index is named for the table, too

    digest = peewee.CharField(64, primary_key=True)
    event = peewee.UUIDField()
    created = peewee.DateTimeField(default=utcnow, index=True)
    copies = peewee.IntegerField(default=0)
    copied = peewee.DateTimeField(null=True)


class Statistic(BaseModel):
    """A part of a total that processes count together (see `metrics`).

    Each process adds to the rows of one `slot`, so that few wait for each other. The total is the
    sum over all slots.
    """

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationstatistic"
        primary_key = peewee.CompositeKey("name", "slot")

    name = peewee.CharField(64)
    slot = peewee.IntegerField()
    value = peewee.BigIntegerField()


class WorkerProcess(BaseModel):
    """A worker process that lives: `name` is its worker's, `renewed` when it last said so."""

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationworker"

    uuid = peewee.UUIDField(primary_key=True, default=uuid4)
    name = peewee.CharField(255)
    process = peewee.IntegerField()
    started = peewee.DateTimeField()
    renewed = peewee.DateTimeField()


def insert_rows(
    model: type[BaseModel], rows: Sequence[dict[str, Any]], *, unless_stored: bool = False
) -> None:
    """Insert rows with the same columns; defaults are not filled in.

    With `unless_stored`, a row whose primary key is already stored is skipped. The first column
    must be of that key.
    """
    # As SQL text: peewee builds an expression for each value, which is slower than the database.
    if not rows:
        return
    database: Any = DB.bound()
    meta: Any = model._meta
    fields = [meta.fields[name] for name in rows[0]]
    into = _into(meta.table_name, tuple(field.column_name for field in fields), database.quote)
    unless = ""
    if unless_stored:
        mysql = isinstance(database, peewee.MySQLDatabase)
        unless = _UNLESS_STORED_MYSQL if mysql else _UNLESS_STORED
        unless = unless.format(key=fields[0].column_name)
    placeholders = f"({', '.join([database.param] * len(fields))})"
    batch_size = max(_VALUES_PER_STATEMENT // len(fields), 1)
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        database.execute_sql(
            f"INSERT INTO {into} VALUES {', '.join([placeholders] * len(batch))} {unless}",  # noqa: S608
            [field.db_value(row[field.name]) for row in batch for field in fields],
        )


@cache
def _into(table: str, columns: tuple[str, ...], quote: str) -> str:
    """Return a table and its columns in SQL; there are only so many."""
    return f"{table} ({', '.join(f'{quote[0]}{each}{quote[1]}' for each in columns)})"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="microseconds")


def _json_object(text: str | None) -> Any:
    """Return the object in a JSON column; null and text that is not an object read as empty."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
