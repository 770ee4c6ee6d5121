"""Millions of deliveries, made by the database itself in minutes, and what one of them takes.

Indexes are made after the rows on PostgreSQL, which is faster, and nothing waits for a disk.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.orm import DB
from tests.support import stored

#: Whose subscription has half of the deliveries; so many others share the rest.
OWNER, SUBSCRIPTIONS = "alice", 100
#: One delivery of so many has its attempt on record, which is as long as those of real targets.
ATTEMPTS = 10
_PORTION = 500_000
_TABLES = ("eventlog", "eventlogmatch", "notificationattempt")
# Event n, its delivery to the owner, and the one to somebody else.
_EVENT, _OWN, _OTHER = "n * 3", "n * 3 + 1", "n * 3 + 2"
_STATE = (
    "CASE n % 50 WHEN 47 THEN 'denied' WHEN 48 THEN 'held' WHEN 49 THEN 'failed' "
    "ELSE 'delivered' END"
)
_REQUEST = (
    '[["Host", "consumer.pacifica.example.org"], ["Content-Type", "application/cloudevents+json; '
    'charset=utf-8"], ["User-Agent", "pacifica-notifications/1.0"], ["Content-Length", "1893"], '
    '["Webhook-Id", "0b4f4f2e-8f0e-4f0e-9d5b-1f3a5c7d9e0f"], ["Webhook-Timestamp", "1764604800"], '
    '["Webhook-Signature", "v1,***"], ["Authorization", "***"], ["Accept", "*/*"]]'
)
_RESPONSE = (
    '[["Server", "nginx/1.22.1"], ["Date", "Tue, 01 Dec 2026 16:00:00 GMT"], ["Content-Type", '
    '"application/json"], ["Content-Length", "22"], ["Connection", "keep-alive"]]'
)


@dataclass(frozen=True)
class _Dialect:
    """How an engine writes a series of numbers, an id made of one, and a time before now."""

    series: str
    id_of: str
    before: str

    def ids(self, number: str) -> str:
        """Return the expression of an id, whose first digits scatter as those of real ones do."""
        return self.id_of.format(f"({number}) * 2654435761 % 4294967296", number)


_DIALECTS = {
    "postgresql": _Dialect(
        "generate_series({}::bigint, {}) AS n",
        "(lpad(to_hex({}), 8, '0') || lpad(to_hex({}), 24, '0'))::uuid",
        "timestamp '{}' - n * interval '1 second'",
    ),
    "sqlite": _Dialect(
        "(WITH RECURSIVE some(n) AS (SELECT {} UNION ALL SELECT n + 1 FROM some WHERE n < {}) "
        "SELECT n FROM some)",
        "printf('%08x%024x', {}, {})",
        "strftime('%Y-%m-%d %H:%M:%f', '{}', -n || ' seconds') || '000'",
    ),
    "mariadb": _Dialect(
        "(SELECT seq AS n FROM seq_{}_to_{}) AS some",
        "LOWER(LPAD(HEX({}), 8, '0') || LPAD(HEX({}), 24, '0'))",
        "TIMESTAMP '{}' - INTERVAL n SECOND",
    ),
}
_HASTE = {
    "postgresql": ("SET synchronous_commit = off", "SET session_replication_role = replica"),
    "sqlite": ("PRAGMA synchronous = OFF", "PRAGMA foreign_keys = OFF"),
    "mariadb": (
        "SET unique_checks = 0",
        "SET foreign_key_checks = 0",
        "SET sql_mode = CONCAT(@@sql_mode, ',PIPES_AS_CONCAT')",
    ),
}
_ANALYZE = {
    "postgresql": "VACUUM ANALYZE",
    "sqlite": "ANALYZE",
    "mariadb": f"ANALYZE TABLE {', '.join(_TABLES)}",
}


def fill(engine: str, deliveries: int) -> tuple[UUID, UUID]:
    """Make the rows; return the subscription that has half of them, and one of its deliveries."""
    largest = stored.subscribe(OWNER)
    for number in range(SUBSCRIPTIONS):
        stored.subscribe(f"user{number}")
    DB.connect(reuse_if_open=True)
    for statement in _HASTE[engine]:
        _execute(statement)
    indexes = _drop_indexes() if engine == "postgresql" else []
    dialect = _DIALECTS[engine]
    for statement in _statements(dialect, engine, largest):
        for first in range(1, deliveries // 2 + 1, _PORTION):
            last = min(first + _PORTION - 1, deliveries // 2)
            _execute(statement.replace("SERIES", dialect.series.format(first, last)))
    for definition in indexes:
        _execute(definition)
    _execute(_ANALYZE[engine])
    series = dialect.series.format(ATTEMPTS, ATTEMPTS)
    (found,) = _execute(f"SELECT {dialect.ids(_OWN)} FROM {series}")  # noqa: S608
    DB.close()
    return largest, UUID(str(found[0]))


def _statements(dialect: _Dialect, engine: str, largest: UUID) -> list[str]:
    """Return what makes events, deliveries of the one subscription and of the others, attempts."""
    before = dialect.before.format(utcnow())
    owner = f"'{largest}'" if engine == "postgresql" else f"'{largest.hex}'"
    others = "(SELECT ROW_NUMBER() OVER (ORDER BY uuid) - 1 AS place, uuid FROM eventmatch"
    others += f" WHERE uuid <> {owner}) AS other ON other.place = n % {SUBSCRIPTIONS}"
    event = {
        "uuid": dialect.ids(_EVENT),
        "jsondata": """'{"data": 1}'""",
        "created": before,
        "attempts": "1",
        "hops": "0",
        "specversion": "''",
        "event_type": "'type' || (n % 50)",
        "event_source": "'source' || (n % 5)",
        "event_id": "'event' || n",
        "event_time": "''",
    }
    delivery = {
        "event_log_id": dialect.ids(_EVENT),
        "state": _STATE,
        "attempts": "1",
        "policy_status_code": "'200'",
        "policy_resp_body": "''",
        "target_status_code": "CASE WHEN n % 50 < 47 THEN '200' ELSE '503' END",
        "target_resp_body": "''",
        "created": before,
        "updated": before,
        "tries": "1",
        "cause": "'automatic'",
    }
    attempt = {
        "delivery": dialect.ids(_OWN),
        "started": before,
        "number": "1",
        "milliseconds": "9",
        "cause": "'automatic'",
        "url": "'http://consumer.pacifica.example.org/notifications'",
        "address": "'192.0.2.1:80'",
        "request": f"'{_REQUEST}'",
        "status": "200",
        "response": f"'{_RESPONSE}'",
        "body": """'{"status": "accepted"}'""",
        "truncated": "FALSE",
        "outcome": "'delivered'",
    }
    own = {"uuid": dialect.ids(_OWN), "event_match_id": owner, **delivery}
    other = {"uuid": dialect.ids(_OTHER), "event_match_id": "other.uuid", **delivery}
    return [
        _insert("eventlog", event),
        _insert("eventlogmatch", own),
        _insert("eventlogmatch", other, f" JOIN {others}"),
        _insert("notificationattempt", attempt, f" WHERE n % {ATTEMPTS} = 0"),
    ]


def _insert(table: str, columns: dict[str, str], end: str = "") -> str:
    values = ", ".join(columns.values())
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM SERIES{end}"  # noqa: S608


def _drop_indexes() -> list[str]:
    """Drop all indexes but those of primary keys; return what makes them again."""
    tables = ", ".join(f"'{table}'" for table in _TABLES)
    indexes = _execute(
        f"SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ({tables}) "  # noqa: S608
        "AND indexname NOT LIKE '%_pkey'"
    )
    for name, _definition in indexes:
        _execute(f"DROP INDEX {name}")
    return [definition for _name, definition in indexes]


def bytes_of(engine: str) -> dict[str, tuple[float, float]]:
    """Return what a row of each table takes, and what its indexes do."""
    DB.connect(reuse_if_open=True)
    sizes = {}
    for table in _TABLES:
        ((count,),) = _execute(f"SELECT COUNT(*) FROM {table}")  # noqa: S608
        ((rows, indexes),) = _execute(_SIZES[engine].format(table))
        sizes[table] = float(rows) / count, float(indexes) / count
    DB.close()
    return sizes


_SIZES = {
    "postgresql": "SELECT pg_table_size('{0}'), pg_indexes_size('{0}')",
    "sqlite": (
        "SELECT SUM(CASE WHEN name = '{0}' THEN pgsize ELSE 0 END), "
        "SUM(CASE WHEN name = '{0}' THEN 0 ELSE pgsize END) FROM dbstat "
        "WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = '{0}')"
    ),
    "mariadb": (
        "SELECT data_length, index_length FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_name = '{0}'"
    ),
}


def _execute(statement: str) -> list[Any]:
    """Execute a statement as it is, in which a percent sign means nothing else."""
    cursor = DB.connection().cursor()
    cursor.execute(statement)
    return list(cursor.fetchall()) if cursor.description else []
