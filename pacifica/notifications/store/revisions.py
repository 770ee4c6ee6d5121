"""The revision of all subscriptions: a number that every change of one of them advances."""

from pacifica.notifications.orm.models import DB, Counter
from pacifica.notifications.orm.transaction import reading, writing

_NAME = "subscriptions"


@reading
def current_revision() -> int:
    """Return the newest revision whose change is committed."""
    # As text: it is asked twice for each batch, and peewee takes as long as the database.
    sql = f"SELECT value FROM notificationcounter WHERE name = {DB.param}"  # noqa: S608 no value
    ((value,),) = DB.execute_sql(sql, (_NAME,)).fetchall()
    return value


@writing
def advance_revision() -> int:
    """Take the next revision for a change in the same transaction.

    The row stays locked until the commit, so that changes become visible in the order of their
    revisions.
    """
    Counter.update(value=Counter.value + 1).where(Counter.name == _NAME).execute()
    return current_revision()
