"""Rewriting what is stored of secrets: by the first key or in plain, beside a running service."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import peewee

from pacifica.notifications.orm.database import DB
from pacifica.notifications.orm.models import BaseModel, LongTextField
from pacifica.notifications.orm.secrets import MARK, NOTHING, CorruptToken, key_name, keyring
from pacifica.notifications.orm.transaction import reading, writing

_ROWS_PER_TRANSACTION = 200
_NAMED = len(MARK) + 8


@dataclass(frozen=True)
class Rewritten:
    """How many rows were rewritten, how many were changed by others meanwhile, and what stays."""

    rows: int
    missed: int
    corrupt: tuple[UUID, ...]


class _Stored(BaseModel):
    """A subscription with its auth as it is stored."""

    class Meta:
        """Read the table of the subscriptions."""

        table_name = "eventmatch"

    uuid = peewee.UUIDField(primary_key=True)
    auth = LongTextField(null=True)


def encrypt_plain() -> Rewritten:
    """Encrypt what is stored in plain; nothing without a key. Raises StoreUnavailable."""
    if keyring().first is None:
        return Rewritten(0, 0, ())
    return _rewrite(_begins(MARK) | _holds_nothing(), keyring().encrypted)


def encrypt_all() -> Rewritten:
    """Encrypt by the first key what is not; there must be one. Raises StoreUnavailable."""
    keys = keyring()
    require_keys()
    done = _begins(keys.prefix or "") | _holds_nothing()
    return _rewrite(done, lambda stored: keys.encrypted(keys.decrypted(stored)))


def decrypt_all() -> Rewritten:
    """Store all in plain. Raises StoreUnavailable."""
    require_keys()
    # Null is neither of both where SQL compares.
    plain = ~_begins(MARK) | _Stored.auth.is_null()
    return _rewrite(plain, keyring().decrypted)


@reading
def require_keys() -> None:
    """Raise StoreUnavailable unless each key is configured by which something is encrypted."""
    beginnings: Any = (
        _Stored.select(peewee.fn.SUBSTR(_Stored.auth, 1, _NAMED).alias("beginning"))
        .where(_begins(MARK))
        .distinct()
        .tuples()
    )
    names = {key_name(f"{beginning}:") for (beginning,) in beginnings}
    keyring().require({name for name in names if name})


def _rewrite(done: Any, rewritten: Callable[[str], str]) -> Rewritten:
    """Rewrite what is not `done`, without changing anything else of its rows.

    A subscription means the same before and after: neither its revision nor its date advances.
    """
    rows, missed, corrupt = 0, 0, []
    last: UUID | None = None
    while found := _rewrite_some(last, done, rewritten):
        last = found[-1][0]
        rows += sum(changed is True for _, changed in found)
        missed += sum(changed is False for _, changed in found)
        corrupt += [uuid for uuid, changed in found if changed is None]
    if rows:
        _forget_overwritten()
    return Rewritten(rows, missed, tuple(corrupt))


@writing
def _rewrite_some(
    last: UUID | None, done: Any, rewritten: Callable[[str], str]
) -> list[tuple[UUID, bool | None]]:
    """Rewrite the next rows; of each, tell whether it was still as it was read, None: corrupt."""
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
def _forget_overwritten() -> None:
    """On SQLite, empty the log of what was written, which has the rows as they were, if it can."""
    if isinstance(DB.bound(), peewee.SqliteDatabase):
        DB.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _begins(text: str) -> Any:
    return peewee.fn.SUBSTR(_Stored.auth, 1, len(text)) == text


def _holds_nothing() -> Any:
    return _Stored.auth.is_null() | _Stored.auth.in_(NOTHING)
