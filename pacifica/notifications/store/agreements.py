"""Who agreed to get mails of whom: asked by a first mail, agreed, left, or blocked for all."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.flow import Standing
from pacifica.notifications.mail import hashed, new_secret, new_token
from pacifica.notifications.orm import Agreement, EventMatch, insert_rows, reading, writing
from pacifica.notifications.store.rowlocks import locking
from pacifica.notifications.store.subscriptions import update
from pacifica.notifications.subscriptions import mailbox

#: How the error begins that disables a subscription whose address has not agreed.
NOT_AGREED = "the address has not agreed to get mails"
_EVERYBODY = ""
# How many rows one transaction deletes.
_ROWS = 200


@dataclass(frozen=True)
class Agreed:
    """An agreement as it is stored; `secret` signs its links to unsubscribe."""

    uuid: UUID
    user: str
    address: str
    standing: Standing
    secret: str


@reading
def agreement(user: str, address: str) -> Agreed | None:
    """Return whether an address gets the mails of a user; None: nobody has asked it.

    One that wants no mail of anybody is blocked for every user.
    """
    wanted = {_key(user, address), _key(_EVERYBODY, address)}
    rows = {row.user: row for row in Agreement.select().where(Agreement.digest.in_(wanted))}
    row = rows.get(_EVERYBODY) or rows.get(user)
    return None if row is None else _agreed(row)


@reading
def agreement_by_uuid(uuid: UUID) -> Agreed | None:
    """Return an agreement that a link to unsubscribe names."""
    row = Agreement.get_or_none(Agreement.uuid == uuid)
    return None if row is None else _agreed(row)


@reading
def agreement_asked(token: str) -> Agreed | None:
    """Return the agreement whose first mail has a token, while that can be used."""
    row = Agreement.get_or_none(_has_token(token))
    return None if row is None else _agreed(row)


@writing
def ask(user: str, address: str) -> None:
    """Have a first mail sent to an address, also if it has unsubscribed before."""
    _insert(user, address, Standing.ASKED)
    Agreement.update(standing=Standing.ASKED, due=utcnow(), changed=utcnow()).where(
        Agreement.digest == _key(user, address), Agreement.standing != Standing.AGREED
    ).execute()


@writing
def agree_unasked(user: str, address: str) -> None:
    """Take note that an address gets the mails of a user without being asked.

    One that has unsubscribed is asked nevertheless.
    """
    _insert(user, address, Standing.AGREED)
    Agreement.update(standing=Standing.AGREED, due=None, token="", changed=utcnow()).where(
        Agreement.digest == _key(user, address), Agreement.standing == Standing.ASKED
    ).execute()


@writing
def claim_asked(lease: float) -> tuple[str, str] | None:
    """Claim a first mail that is due; return user and address. None: none is due."""
    now = utcnow()
    query = Agreement.select().where(Agreement.due <= now).order_by(Agreement.due).limit(1)
    row = locking(query, skip_locked=True).first()
    if row is None:
        return None
    due = now + timedelta(seconds=lease)
    Agreement.update(due=due).where(Agreement.digest == row.digest).execute()
    return row.user, row.address


@reading
def is_asked_due() -> bool:
    """Tell whether any first mail is due."""
    return Agreement.select(Agreement.digest).where(Agreement.due <= utcnow()).exists()


@writing
def new_question(user: str, address: str, age: float) -> str:
    """Return a new token for a first mail, which can be used for `age` seconds.

    One that was sent before cannot be used any more.
    """
    token = new_token()
    expires = utcnow() + timedelta(seconds=age)
    Agreement.update(token=hashed(token), expires=expires).where(
        Agreement.digest == _key(user, address)
    ).execute()
    return token


@writing
def question_sent(user: str, address: str, again: datetime | None = None) -> None:
    """Take note that a first mail was sent, or when that is tried again."""
    Agreement.update(due=again).where(
        Agreement.digest == _key(user, address), Agreement.standing == Standing.ASKED
    ).execute()


def agree(token: str) -> Agreed | None:
    """Take note that an address agrees, and enable what waits for it; None for another token."""
    agreed = _answer(token, Standing.AGREED)
    if agreed is not None:
        enable_waiting(agreed.user, agreed.address)
    return agreed


@writing
def block(token: str) -> Agreed | None:
    """Take note that an address wants no mail of anybody; None for another token."""
    agreed = _answer(token, Standing.LEFT)
    if agreed is not None:
        _insert(_EVERYBODY, agreed.address, Standing.BLOCKED)
    return agreed


@writing
def leave(uuid: UUID) -> None:
    """Take note that an address has unsubscribed; links to unsubscribe before stay valid."""
    Agreement.update(
        standing=Standing.LEFT,
        due=None,
        token="",
        expires=None,
        changed=utcnow(),
    ).where(Agreement.uuid == uuid, Agreement.standing != Standing.BLOCKED).execute()


@writing
def forget_unanswered(age: float) -> int:
    """Forget some addresses that were asked so many seconds ago and did not answer."""
    before = utcnow() - timedelta(seconds=age)
    old = Agreement.select(Agreement.digest).where(
        Agreement.changed < before, Agreement.standing == Standing.ASKED, Agreement.due.is_null()
    )
    digests = [row.digest for row in old.limit(_ROWS)]
    return Agreement.delete().where(Agreement.digest.in_(digests)).execute() if digests else 0


def enable_waiting(user: str, address: str) -> None:
    """Enable the subscriptions of a user that wait for an address to agree."""
    for uuid in _waiting(user, address):
        update(user, uuid, lambda _stored: {"disabled": None})


@reading
def mailed_to(user: str, address: str) -> list[UUID]:
    """Return the enabled subscriptions of a user whose events are mailed to an address."""
    return _to(address, EventMatch.user == user, EventMatch.disabled.is_null())


@reading
def _waiting(user: str, address: str) -> list[UUID]:
    return _to(address, EventMatch.user == user, EventMatch.holding)


def _to(address: str, *conditions: object) -> list[UUID]:
    columns = EventMatch.uuid, EventMatch.target_url, EventMatch.disabled, EventMatch.error
    query = EventMatch.select(*columns).where(
        EventMatch.deleted.is_null(), EventMatch.target_url.startswith("mailto:"), *conditions
    )
    return [
        row.uuid
        for row in query
        if mailbox(row.target_url) == address
        and (row.disabled is None or (row.error or "").startswith(NOT_AGREED))
    ]


@writing
def _answer(token: str, standing: Standing) -> Agreed | None:
    """Use a token, once."""
    row = locking(Agreement.select().where(_has_token(token))).get_or_none()
    if row is None:
        return None
    Agreement.update(
        standing=standing,
        token="",
        expires=None,
        due=None,
        changed=utcnow(),
    ).where(Agreement.digest == row.digest).execute()
    row.standing = standing
    return _agreed(row)


def _has_token(token: str) -> object:
    return (
        (Agreement.token == hashed(token))
        & (Agreement.expires > utcnow())
        & (Agreement.standing == Standing.ASKED)
    )


def _insert(user: str, address: str, standing: Standing) -> None:
    row = {
        "digest": _key(user, address),
        "uuid": uuid4(),
        "user": user,
        "address": address,
        "standing": standing,
        "secret": new_secret(),
        "token": "",
        "expires": None,
        "due": None,
        "changed": utcnow(),
    }
    insert_rows(Agreement, [row], unless_stored=True)


def _agreed(row: Agreement) -> Agreed:
    standing = Standing(row.standing)
    return Agreed(row.uuid, row.user, row.address, standing, row.secret)


def _key(user: str, address: str) -> str:
    return hashed(f"{user}\0{address}")
