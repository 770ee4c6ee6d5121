"""Databases as old versions of the service left them, and what a layout consists of."""

from pathlib import Path
from typing import Any

import peewee

from tests.support import databases

LAYOUTS = Path(__file__).parents[1] / "layouts"
OLD_VERSIONS = ["0.0", "1.0", "2.0", "3.0"]
OLD_TABLES = ("eventmatch", "eventlog", "eventlogmatch")


def install(
    url: str, engine: str, version: str, *, rows: bool = True, character_set: str = ""
) -> None:
    """Fill an empty database with an old layout; 0.0 is a 1.0 that has no version.

    `character_set` is another one than MariaDB's present default.
    """
    source = "1.0" if version == "0.0" else version
    script = _read(f"{engine}-{source}.sql")
    if character_set:
        script = script.replace("utf8mb4 COLLATE=utf8mb4_general_ci", character_set)
    if rows:
        script += _read(f"rows-{source}.sql")
    databases.execute(url, script)
    if version == "0.0":
        databases.execute(url, "DROP TABLE notificationsystem")


def columns_and_keys(database: peewee.Database, *, exactly: bool) -> dict[str, Any]:
    """Describe every table; `exactly` includes what the models leave to the migrations.

    That is the columns' order and defaults, and names of indexes and of MySQL's text collation.
    """
    return {table: _described(database, table, exactly) for table in database.get_tables()}


def contents(database: peewee.Database) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the tables that old versions had, in the order of their keys."""
    tables = [table for table in OLD_TABLES if database.table_exists(table)]
    return {table: _rows(database, table) for table in tables}


def _read(name: str) -> str:
    return (LAYOUTS / name).read_text(encoding="utf-8")


def _rows(database: peewee.Database, table: str) -> list[dict[str, Any]]:
    cursor = database.execute_sql(f"SELECT * FROM {table} ORDER BY uuid")  # noqa: S608
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _described(database: peewee.Database, table: str, exactly: bool) -> Any:
    columns = [
        (column.name, column.full_type, column.null, column.primary_key)
        + ((column.default,) if exactly else ())
        for column in database.get_columns(table)
    ]
    indexes = {
        (index.name if exactly or not index.unique else "", tuple(index.columns), index.unique)
        for index in database.get_indexes(table)
    }
    keys = {
        (key.column, key.dest_table, key.dest_column) for key in database.get_foreign_keys(table)
    }
    if not exactly:
        return sorted(columns), indexes, keys
    if isinstance(database, peewee.MySQLDatabase):
        lines = database.execute_sql(f"SHOW CREATE TABLE {table}").fetchone()[1].split("\n")
        return columns, sorted(line.rstrip(",") for line in lines)
    return columns, indexes, keys
