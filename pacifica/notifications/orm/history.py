"""The tables of attempts, of what subscriptions were, of who did what, and of long jobs."""

from uuid import uuid4

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm.models import BaseModel, LongTextField


class Attempt(BaseModel):
    """One request to a target, as it happened; secrets are masked.

    `number` counts the attempts of the delivery, from 1. `request` and `response` are headers: a
    JSON array of pairs. `status` is null where no response came; then `body` is the reason.
    `outcome` is one of flow.AttemptOutcome.
    """

    class Meta:
        """Name the table for the service, and keep the attempts of a delivery together."""

        table_name = "notificationattempt"
        legacy_table_names = False  # so that the indexes are named for the table, too
        primary_key = peewee.CompositeKey("delivery", "started")

    delivery = peewee.UUIDField()
    started = peewee.DateTimeField(index=True)
    number = peewee.IntegerField()
    milliseconds = peewee.IntegerField()
    cause = peewee.CharField(16)
    url = LongTextField()
    address = peewee.CharField(64)
    request = LongTextField()
    status = peewee.IntegerField(null=True)
    response = LongTextField()
    body = LongTextField()
    truncated = peewee.BooleanField()
    outcome = peewee.CharField(16)
    next_attempt = peewee.DateTimeField(null=True)


class Revision(BaseModel):
    """What a subscription was from one change to the next, without its credentials.

    `actor` is the user who made the change; empty: the service did. `fields` are the names of the
    changed fields, separated by blanks.
    """

    class Meta:
        """Name the table for the service, and keep the revisions of a subscription together."""

        table_name = "notificationrevision"
        legacy_table_names = False
        primary_key = peewee.CompositeKey("subscription", "revision")

    subscription = peewee.UUIDField()
    revision = peewee.BigIntegerField()
    changed = peewee.DateTimeField(index=True)
    actor = peewee.CharField(255)
    action = peewee.CharField(16)
    fields = peewee.CharField(255)
    name = peewee.CharField(255)
    jsonpath = LongTextField()
    target_url = LongTextField()
    extensions = LongTextField()
    specversion = peewee.CharField(8)
    mode = peewee.CharField(16)
    disabled = peewee.DateTimeField(null=True)
    error = LongTextField(null=True)
    holding = peewee.BooleanField()
    unmatched = peewee.BooleanField()
    deleted = peewee.DateTimeField(null=True)


class AuditEntry(BaseModel):
    """What `actor` did or looked at: the subscription of `owner`, and details as a JSON object."""

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationaudit"
        legacy_table_names = False

    uuid = peewee.UUIDField(primary_key=True, default=uuid4)
    moment = peewee.DateTimeField(default=utcnow, index=True)
    actor = peewee.CharField(255)
    action = peewee.CharField(32)
    owner = peewee.CharField(255)
    subscription = peewee.UUIDField(null=True)
    details = LongTextField(default="{}")


class Job(BaseModel):
    """A backtest or a replay that workers go on with when it is `due`; null: nothing is to be done.

    `request` is what its user asked for, and `progress` how far it is, both as JSON objects.
    `idempotency` is a hash of the key that its request had; empty: it had none. `turn` is when a
    worker last went on with any job of its user. `attempts` counts how often it was claimed since a
    worker last recorded how far it is.
    """

    class Meta:
        """Name the table for the service, and let the jobs of a user be counted and listed."""

        table_name = "notificationjob"
        legacy_table_names = False
        indexes = ((("user", "kind", "created"), False),)

    uuid = peewee.UUIDField(primary_key=True, default=uuid4)
    kind = peewee.CharField(16)
    user = peewee.CharField(255)
    subscription = peewee.UUIDField(null=True)
    state = peewee.CharField(16)
    created = peewee.DateTimeField(default=utcnow, index=True)
    due = peewee.DateTimeField(null=True, index=True)
    turn = peewee.DateTimeField(default=utcnow)
    attempts = peewee.IntegerField(default=0)
    finished = peewee.DateTimeField(null=True)
    idempotency = peewee.CharField(64, default="")
    request = LongTextField()
    progress = LongTextField(default="{}")
