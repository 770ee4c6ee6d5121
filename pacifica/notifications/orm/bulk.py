"""Inserting many rows, without an expression of peewee's for each value."""

from collections.abc import Sequence
from typing import Any

import peewee

from pacifica.notifications.orm.database import DB
from pacifica.notifications.orm.models import BaseModel

_VALUES_PER_STATEMENT = 5000
_UNLESS_STORED = "ON CONFLICT ({key}) DO NOTHING"
_UNLESS_STORED_MYSQL = "ON DUPLICATE KEY UPDATE {key} = {key}"


def insert_rows(
    model: type[BaseModel], rows: Sequence[dict[str, Any]], *, unless_stored: bool = False
) -> None:
    """Insert rows that all name the same columns; defaults are not filled in.

    With `unless_stored`, a row whose primary key is stored already changes nothing.
    """
    if not rows:
        return
    database: Any = DB.bound()
    meta: Any = model._meta
    fields = [meta.fields[name] for name in rows[0]]
    into = f"{meta.table_name} ({', '.join(field.column_name for field in fields)})"
    unless = ""
    if unless_stored:
        mysql = isinstance(database, peewee.MySQLDatabase)
        unless = _UNLESS_STORED_MYSQL if mysql else _UNLESS_STORED
        unless = unless.format(key=meta.primary_key.column_name)
    row = f"({', '.join([database.param] * len(fields))})"
    at_once = max(_VALUES_PER_STATEMENT // len(fields), 1)
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        database.execute_sql(
            f"INSERT INTO {into} VALUES {', '.join([row] * len(some))} {unless}",  # noqa: S608
            [field.db_value(values[field.name]) for values in some for field in fields],
        )
