"""The tables of a database, and changes to them in each engine's own SQL.

MySQL and MariaDB commit each change of a table, so a step may continue the work of one that was
killed half-way. Therefore each change does nothing if it is already done.
"""

import peewee

# On MySQL and MariaDB, an index on 255 characters and case-sensitive user names need this; the
# defaults differ from server to server.
_MYSQL_TEXT = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

_TYPES = {
    "sqlite": {
        "uuid": "TEXT",
        "text": "TEXT",
        "moment": "DATETIME",
        "flag": "INTEGER",
        "counter": "INTEGER",
    },
    "postgresql": {
        "uuid": "UUID",
        "text": "TEXT",
        "moment": "TIMESTAMP",
        "flag": "BOOLEAN",
        "counter": "BIGINT",
    },
    "mysql": {
        "uuid": "VARCHAR(40)",
        "text": "LONGTEXT",
        "moment": "DATETIME(6)",
        "flag": "BOOL",
        "counter": "BIGINT",
    },
}


class Tables:
    """The tables of one database.

    Column definitions are SQL, with the types that differ among engines in braces: `{uuid}`,
    `{text}` without a limit, `{moment}` with microseconds, `{flag}`, and `{counter}` of 64 bits.
    """

    def __init__(self, database: peewee.Database) -> None:
        self._database = database
        self.engine = "mysql"
        if isinstance(database, peewee.SqliteDatabase):
            self.engine = "sqlite"
        elif isinstance(database, peewee.PostgresqlDatabase):
            self.engine = "postgresql"

    def execute(self, sql: str) -> None:
        """Execute a statement that every engine understands."""
        self._database.execute_sql(sql)

    def exists(self, table: str) -> bool:
        """Return whether the database has a table."""
        return self._database.table_exists(table)

    def create(self, table: str, *constraints: str, **columns: str) -> None:
        """Create a table; `constraints` is SQL that follows the columns."""
        if self.exists(table):
            return
        lines = [f"{self._name(name)} {self._typed(sql)}" for name, sql in columns.items()]
        options = f" ENGINE=InnoDB {_MYSQL_TEXT}" if self.engine == "mysql" else ""
        self.execute(f"CREATE TABLE {table} ({', '.join([*lines, *constraints])}){options}")

    def add_columns(self, table: str, **columns: str) -> None:
        """Add columns to a table."""
        present = {column.name for column in self._database.get_columns(table)}
        for name, sql in columns.items():
            if name not in present:
                self.execute(f"ALTER TABLE {table} ADD COLUMN {name} {self._typed(sql)}")

    def add_indexes(self, table: str, *columns: str) -> None:
        """Add an index on each of the columns, named for the table and the column."""
        for column in columns:
            self.add_index(table, column)

    def add_index(self, table: str, *columns: str) -> None:
        """Add one index on all columns together, named for the table and the columns."""
        present = {index.name for index in self._database.get_indexes(table)}
        index = "_".join([table, *columns])
        if index not in present:
            named = ", ".join(self._name(column) for column in columns)
            self.execute(f"CREATE INDEX {index} ON {table} ({named})")

    def drop_index(self, table: str, *columns: str) -> None:
        """Drop the index that `add_index` named for the table and the columns."""
        index = "_".join([table, *columns])
        if index in {each.name for each in self._database.get_indexes(table)}:
            self.execute(f"DROP INDEX {index}" + (f" ON {table}" if self.engine == "mysql" else ""))

    def drop_defaults(self, table: str, *columns: str) -> None:
        """Drop defaults that served only old rows; SQLite cannot do this and keeps them."""
        if self.engine != "sqlite":
            drops = ", ".join(f"ALTER COLUMN {column} DROP DEFAULT" for column in columns)
            self.execute(f"ALTER TABLE {table} {drops}")

    def widen(self, table: str) -> None:
        """On MySQL, convert TEXT to LONGTEXT, DATETIME to microseconds, text to utf8mb4.

        No foreign key may be in the table or refer to it, because MySQL refuses to convert them.
        """
        columns = self._narrow_columns(table)
        if columns:
            changes = [
                f"MODIFY `{name}` {self._typed(kind)} {'NULL' if nullable == 'YES' else 'NOT NULL'}"
                for name, kind, nullable in columns
                if kind
            ]
            convert = f"CONVERT TO {_MYSQL_TEXT}"
            self.execute(f"ALTER TABLE {table} {', '.join([convert, *changes])}")

    def is_narrow(self, table: str) -> bool:
        """Return whether `widen` would change a table; False except on MySQL."""
        return bool(self._narrow_columns(table))

    def drop_foreign_keys(self, table: str) -> None:
        """Drop all foreign keys of a table; their columns stay indexed."""
        for key in self._foreign_keys(table).values():
            self.execute(f"ALTER TABLE {table} DROP FOREIGN KEY {self._name(key)}")

    def add_foreign_key(self, table: str, column: str, target: str, name: str) -> None:
        """Add a foreign key to another table's `uuid`."""
        if column not in self._foreign_keys(table):
            self.execute(
                f"ALTER TABLE {table} ADD CONSTRAINT {name} "
                f"FOREIGN KEY ({column}) REFERENCES {target} (uuid)"
            )

    def _narrow_columns(self, table: str) -> list[tuple[str, str, str]]:
        """Return name, new type (empty: only the collation) and nullability of columns."""
        if self.engine != "mysql":
            return []
        return self._database.execute_sql(
            """
            SELECT column_name,
                   CASE WHEN data_type IN ('text', 'mediumtext', 'longtext') THEN '{text}'
                        WHEN data_type = 'datetime' THEN '{moment}' ELSE '' END,
                   is_nullable
            FROM information_schema.columns
            WHERE table_schema = DATABASE() AND table_name = %s
              AND (data_type IN ('text', 'mediumtext') OR datetime_precision < 6
                   OR collation_name <> 'utf8mb4_bin')
            ORDER BY ordinal_position
            """,
            (table,),
        ).fetchall()

    def _foreign_keys(self, table: str) -> dict[str, str]:
        """Return the names of foreign keys by their columns; MySQL only."""
        return dict(
            self._database.execute_sql(
                "SELECT column_name, constraint_name FROM information_schema.key_column_usage "
                "WHERE table_schema = DATABASE() AND table_name = %s "
                "AND referenced_table_name IS NOT NULL",
                (table,),
            ).fetchall()
        )

    def _name(self, name: str) -> str:
        quote = self._database.quote
        return f"{quote[0]}{name}{quote[1]}"

    def _typed(self, sql: str) -> str:
        return sql.format(**_TYPES[self.engine])
