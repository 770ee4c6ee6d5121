"""The steps from each version of the schema to the next, in each engine's own SQL.

The steps do not use the models, which describe the newest version only. MySQL and MariaDB commit
each change of a table, so a step may continue the work of one that was killed half-way. Therefore
each change does nothing if it is already done.
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

_LONG_AGO = "1970-01-01 00:00:00"


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


def add_subscriptions(tables: Tables) -> None:
    """Step from 0.0 to 1.0; a database at 0.0 may already have subscriptions."""
    tables.create(
        "eventmatch",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        name="VARCHAR(255) NOT NULL",
        jsonpath="{text} NOT NULL",
        user="VARCHAR(255) NOT NULL",
        disabled="{moment}",
        error="{text}",
        target_url="{text} NOT NULL",
        version="VARCHAR(255) NOT NULL",
        extensions="{text} NOT NULL",
        created="{moment} NOT NULL",
        updated="{moment} NOT NULL",
        deleted="{moment}",
    )
    tables.add_indexes("eventmatch", "name", "user", "disabled", "created", "updated", "deleted")
    tables.create(
        "notificationsystem",
        part="VARCHAR(255) NOT NULL PRIMARY KEY",
        value="INTEGER NOT NULL",
    )


def add_authentication(tables: Tables) -> None:
    """Step from 1.0 to 2.0: the credentials that a delivery sends to its target."""
    tables.add_columns("eventmatch", auth="{text}")


def add_event_log(tables: Tables) -> None:
    """Step from 2.0 to 3.0: the log of events, their matches and the responses."""
    if not tables.exists("eventlogmatch"):
        # A foreign key needs the same kind of text on both sides.
        tables.widen("eventmatch")
        tables.widen("eventlog")
    tables.create(
        "eventlog",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        jsondata="{text} NOT NULL",
        created="{moment} NOT NULL",
    )
    tables.add_indexes("eventlog", "created")
    tables.create(
        "eventlogmatch",
        "FOREIGN KEY (event_log_id) REFERENCES eventlog (uuid)",
        "FOREIGN KEY (event_match_id) REFERENCES eventmatch (uuid)",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        event_log_id="{uuid} NOT NULL",
        event_match_id="{uuid} NOT NULL",
        policy_status_code="{text} NOT NULL",
        policy_resp_body="{text} NOT NULL",
        target_status_code="{text} NOT NULL",
        target_resp_body="{text} NOT NULL",
        created="{moment} NOT NULL",
    )
    tables.add_indexes("eventlogmatch", "event_log_id", "event_match_id", "created")


def add_work_to_do(tables: Tables) -> None:
    """Step from 3.0 to 4.0: due times, and the tables that coordinate the workers."""
    _widen(tables)
    _add_revisions(tables)
    tables.add_columns(
        "eventlog",
        due="{moment}",  # null: old events count as dispatched
        attempts="INTEGER NOT NULL DEFAULT 0",
        hops="INTEGER NOT NULL DEFAULT 0",
        specversion="VARCHAR(8) NOT NULL DEFAULT ''",  # 0.5.2 had only events of version 0.1
    )
    tables.drop_defaults("eventlog", "attempts", "hops", "specversion")
    tables.add_indexes("eventlog", "due")
    _add_states(tables)
    tables.create(
        "notificationcounter",
        name="VARCHAR(64) NOT NULL PRIMARY KEY",
        value="{counter} NOT NULL",
    )
    tables.execute(
        "INSERT INTO notificationcounter (name, value) "
        "SELECT 'subscriptions', 0 FROM (SELECT 1 AS one) AS once "
        "WHERE NOT EXISTS (SELECT 1 FROM notificationcounter WHERE name = 'subscriptions')"
    )
    tables.create(
        "notificationdeferred",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        event="{uuid} NOT NULL",
        user="VARCHAR(255) NOT NULL",
        subscriptions="{text} NOT NULL",
        due="{moment}",
        since="{moment} NOT NULL",
    )
    tables.add_indexes("notificationdeferred", "event", "due")
    tables.add_index("notificationdeferred", "user", "due", "since")
    tables.create(
        "notificationlease",
        name="VARCHAR(64) NOT NULL PRIMARY KEY",
        expires="{moment} NOT NULL",
    )
    tables.create(
        "notificationidentity",
        digest="VARCHAR(64) NOT NULL PRIMARY KEY",
        event="{uuid} NOT NULL",
        created="{moment} NOT NULL",
    )
    tables.add_indexes("notificationidentity", "created")
    tables.create(
        "notificationstatistic",
        "PRIMARY KEY (name, slot)",
        name="VARCHAR(64) NOT NULL",
        slot="INTEGER NOT NULL",
        value="{counter} NOT NULL",
    )
    tables.create(
        "notificationworker",
        uuid="{uuid} NOT NULL PRIMARY KEY",
        name="VARCHAR(255) NOT NULL",
        process="INTEGER NOT NULL",
        started="{moment} NOT NULL",
        renewed="{moment} NOT NULL",
    )


def _widen(tables: Tables) -> None:
    """On MySQL, make old tables hold long text, microseconds and every character."""
    if tables.engine != "mysql":
        return
    converted = ("eventmatch", "eventlog", "eventlogmatch", "notificationsystem")
    if any(tables.is_narrow(table) for table in converted):
        tables.drop_foreign_keys("eventlogmatch")
        for table in converted:
            tables.widen(table)
    tables.add_foreign_key("eventlogmatch", "event_log_id", "eventlog", "eventlogmatch_ibfk_1")
    tables.add_foreign_key("eventlogmatch", "event_match_id", "eventmatch", "eventlogmatch_ibfk_2")


def _add_revisions(tables: Tables) -> None:
    """Add revisions, and hold matches for subscriptions that an error disabled."""
    tables.add_columns(
        "eventmatch",
        holding="{flag} NOT NULL DEFAULT FALSE",
        unmatched="{flag} NOT NULL DEFAULT FALSE",
        revision="{counter} NOT NULL DEFAULT 0",
        held_due="{moment}",
        probe="{uuid}",
        probes="INTEGER NOT NULL DEFAULT 0",
        specversion="VARCHAR(8) NOT NULL DEFAULT ''",
        mode="VARCHAR(16) NOT NULL DEFAULT 'structured'",
    )
    tables.execute("UPDATE eventmatch SET auth = '{}' WHERE auth IS NULL")
    tables.execute(
        "UPDATE eventmatch SET holding = TRUE "
        "WHERE disabled IS NOT NULL AND error IS NOT NULL AND deleted IS NULL"
    )
    added = ("holding", "unmatched", "revision", "probes", "specversion", "mode")
    tables.drop_defaults("eventmatch", *added)
    tables.add_indexes("eventmatch", "revision", "held_due")
    tables.add_index("eventmatch", "user", "deleted", "created", "uuid")


def _add_states(tables: Tables) -> None:
    """Give old matches a state by their recorded responses; none is sent again."""
    tables.add_columns(
        "eventlogmatch",
        state="VARCHAR(16) NOT NULL DEFAULT 'failed'",
        due="{moment}",
        leased="{moment}",
        attempts="INTEGER NOT NULL DEFAULT 0",
        failing="{moment}",
        updated=f"{{moment}} NOT NULL DEFAULT '{_LONG_AGO}'",
    )
    tables.execute(
        """
        UPDATE eventlogmatch SET updated = created, state = CASE
            WHEN target_status_code LIKE '2__' THEN 'delivered'
            WHEN policy_status_code <> '' AND policy_status_code NOT LIKE '2__' THEN 'denied'
            ELSE 'failed' END
        """
    )
    tables.drop_defaults("eventlogmatch", "state", "attempts", "updated")
    tables.add_indexes("eventlogmatch", "due")
    tables.add_index("eventlogmatch", "state", "event_match_id", "created")
