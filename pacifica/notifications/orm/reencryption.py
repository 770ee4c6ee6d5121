"""Rewrites stored secrets, encrypted or in plain text, during operation."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.orm.database import DB
from pacifica.notifications.orm.models import BaseModel, LongTextField
from pacifica.notifications.orm.secrets import MARK, NOTHING, CorruptToken, key_name
from pacifica.notifications.orm.transaction import checking, reading, writing

_ROWS_PER_TRANSACTION = 200
_NAME_END = len(MARK) + 8


@dataclass(frozen=True)
class Rewritten:
    """The result of a rewrite.

    `rows` were rewritten. `missed` others were changed concurrently. Those in `corrupt` cannot be
    decrypted, and are unchanged.
    """

    rows: int
    missed: int
    corrupt: tuple[UUID, ...]


class _Stored(BaseModel):
    """A subscription with its auth as stored, without decryption."""

    class Meta:
        """Use the table of the subscriptions."""

        table_name = "eventmatch"

    uuid = peewee.UUIDField(primary_key=True)
    auth = LongTextField(null=True)


#: Is told how much is done, of how much in all, and what.
Report = Callable[[int, int, str], None]


def ignored(_done: int, _total: int, _what: str) -> None:
    """Be a Report that nobody reads."""


def encrypt_plain(report: Report = ignored) -> Rewritten:
    """Encrypt auth that is stored in plain text, if there is a key.

    Raises StoreUnavailable.
    """
    keyring = DB.handle().keyring
    if keyring.first is None:
        return Rewritten(0, 0, ())
    return _rewrite(_begins(MARK) | _holds_nothing(), keyring.encrypted, report)


def encrypt_all(report: Report = ignored) -> Rewritten:
    """Encrypt all auth by the first key, which must exist. Raises StoreUnavailable."""
    keyring = DB.handle().keyring
    require_keys()
    done = _begins(keyring.prefix or "") | _holds_nothing()
    return _rewrite(done, lambda stored: keyring.encrypted(keyring.decrypted(stored)), report)


def decrypt_all(report: Report = ignored) -> Rewritten:
    """Store all auth in plain text. Raises StoreUnavailable."""
    require_keys()
    # A comparison with null is null, and so is its negation, so nulls are tested separately.
    plain = ~_begins(MARK) | _Stored.auth.is_null()
    return _rewrite(plain, DB.handle().keyring.decrypted, report)


@checking
def require_keys() -> None:
    """Raise StoreUnavailable unless every key that encrypted something is configured."""
    beginnings: Any = (
        _Stored.select(peewee.fn.SUBSTR(_Stored.auth, 1, _NAME_END).alias("beginning"))
        .where(_begins(MARK))
        .distinct()
        .tuples()
    )
    names = {key_name(f"{beginning}:") for (beginning,) in beginnings}
    DB.handle().keyring.require({name for name in names if name})


def _rewrite(done: Any, rewritten: Callable[[str], str], report: Report = ignored) -> Rewritten:
    """Rewrite the rows that are not `done`, without changing other columns.

    The subscription itself does not change, so its revision and date do not either.
    """
    rows, missed, corrupt = 0, 0, []
    total = _count(done)
    last: UUID | None = None
    while found := _rewrite_batch(last, done, rewritten):
        last = found[-1][0]
        rows += sum(changed is True for _, changed in found)
        missed += sum(changed is False for _, changed in found)
        corrupt += [uuid for uuid, changed in found if changed is None]
        report(rows + missed + len(corrupt), total, "rewriting auth")
    if rows:
        _truncate_log()
    return Rewritten(rows, missed, tuple(corrupt))


@reading
def _count(done: Any) -> int:
    return int(_Stored.select().where(~done).count())


@writing
def _rewrite_batch(
    last: UUID | None, done: Any, rewritten: Callable[[str], str]
) -> list[tuple[UUID, bool | None]]:
    """Rewrite the next rows; return for each whether it was; None: it is corrupt."""
    if isinstance(DB.bound(), peewee.SqliteDatabase):
        DB.execute_sql("PRAGMA secure_delete = ON")
    later = () if last is None else (_Stored.uuid > last,)
    query = _Stored.select().where(~done, *later).order_by(_Stored.uuid)
    return [
        (row.uuid, _rewrite_one(row, rewritten)) for row in list(query.limit(_ROWS_PER_TRANSACTION))
    ]


def _rewrite_one(row: _Stored, rewritten: Callable[[str], str]) -> bool | None:
    try:
        text = rewritten(row.auth)
    except CorruptToken:
        return None
    unchanged = (_Stored.uuid == row.uuid, _Stored.auth == row.auth)
    return bool(_Stored.update(auth=text).where(*unchanged).execute())


@reading
def _truncate_log() -> None:
    """Empty SQLite's write-ahead log, which holds the old rows, unless it is in use."""
    if isinstance(DB.bound(), peewee.SqliteDatabase):
        DB.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _begins(text: str) -> Any:
    return peewee.fn.SUBSTR(_Stored.auth, 1, len(text)) == text


def _holds_nothing() -> Any:
    return _Stored.auth.is_null() | _Stored.auth.in_(NOTHING)
