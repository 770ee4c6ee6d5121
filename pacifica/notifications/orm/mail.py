"""The tables of mails: who agreed to get them, when digests are due, and what owners are told."""

from uuid import uuid4

import peewee

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm.models import BaseModel


class Digest(BaseModel):
    """When the next mail of a subscription is due; it has no row while nothing is collected."""

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationdigest"
        legacy_table_names = False

    subscription = peewee.UUIDField(primary_key=True)
    due = peewee.DateTimeField(index=True)


class Agreement(BaseModel):
    """Whether an address agreed to get the mails of a user; `user` is empty for those of all.

    `digest` is a hash of both. `standing` is one of flow.Standing. `secret` makes the links to
    unsubscribe. `token` is a hash of what the link in the last first mail has, until `expires`; it
    is empty once it was used. `due` is when a first mail is to be sent; null: none is.
    """

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationagreement"
        legacy_table_names = False

    digest = peewee.CharField(64, primary_key=True)
    uuid = peewee.UUIDField(default=uuid4, index=True)
    user = peewee.CharField(255)
    address = peewee.CharField(254)
    standing = peewee.CharField(16)
    secret = peewee.CharField(64, default="")
    token = peewee.CharField(64, default="", index=True)
    expires = peewee.DateTimeField(null=True)
    due = peewee.DateTimeField(null=True, index=True)
    changed = peewee.DateTimeField(default=utcnow)


class MailCount(BaseModel):
    """How many mails were sent since `began`, which counts for some time; `name` is a hash."""

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationmailcount"
        legacy_table_names = False

    name = peewee.CharField(64, primary_key=True)
    began = peewee.DateTimeField(index=True)
    count = peewee.IntegerField()


class Notice(BaseModel):
    """What the owner of a subscription is to be told, and was told last.

    `kind` is what is to be told at `due`, and `said` what was last, at `told`. `mail_due` is when
    that is to be mailed, which was tried `attempts` times. Null: nothing is to be done.
    """

    class Meta:
        """Name the table for the service, whose database others may share."""

        table_name = "notificationnotice"
        legacy_table_names = False

    subscription = peewee.UUIDField(primary_key=True)
    kind = peewee.CharField(16, default="")
    due = peewee.DateTimeField(null=True, index=True)
    said = peewee.CharField(16, default="")
    told = peewee.DateTimeField(null=True)
    mail_due = peewee.DateTimeField(null=True, index=True)
    attempts = peewee.IntegerField(default=0)
