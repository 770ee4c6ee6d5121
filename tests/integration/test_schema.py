"""Databases of every version reach this code's schema, on every engine."""

import peewee
import pytest

from pacifica.notifications.errors import SchemaMismatch, StoreUnavailable
from pacifica.notifications.orm import (
    DB,
    Agreement,
    Attempt,
    AuditEntry,
    Counter,
    DeferredMatch,
    Digest,
    EventLog,
    EventLogMatch,
    EventMatch,
    FirstEvent,
    Job,
    Lock,
    MailCount,
    Notice,
    NotificationSystem,
    OrmSync,
    Revision,
    Statistic,
    WorkerProcess,
    schema,
)
from pacifica.notifications.orm.schema import record_version
from pacifica.notifications.orm.tables import Tables
from tests.support import databases
from tests.support.children import children, release
from tests.support.layouts import OLD_VERSIONS, columns_and_keys, contents, install

MODELS = [
    Agreement,
    Digest,
    MailCount,
    Notice,
    Attempt,
    AuditEntry,
    Job,
    Revision,
    EventMatch,
    EventLog,
    EventLogMatch,
    DeferredMatch,
    Counter,
    Lock,
    FirstEvent,
    Statistic,
    WorkerProcess,
    NotificationSystem,
]
HOLD_THE_LOCK = "with migration_session(): proceed()"
MIGRATE = "proceed(); OrmSync.dbconn_blocking(); OrmSync.update_tables()"


class Interrupted(BaseException):
    """Stands for the death of a migration."""


@pytest.mark.usefixtures("empty_database")
def test_update_tables_makes_what_the_models_say_when_database_is_empty() -> None:
    assert OrmSync.update_tables() is True
    assert NotificationSystem.get_version() == (4, 0)
    migrated = columns_and_keys(DB.bound(), exactly=False)

    DB.drop_tables(MODELS)
    DB.create_tables(MODELS)
    assert columns_and_keys(DB.bound(), exactly=False) == migrated


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_update_tables_ends_in_one_layout_when_database_is_old(
    engine: str, empty_database: str, version: str
) -> None:
    OrmSync.update_tables()
    fresh = columns_and_keys(DB.bound(), exactly=True)
    DB.unbind()
    databases.empty(empty_database)

    install(empty_database, engine, version)
    OrmSync.update_tables()
    assert columns_and_keys(DB.bound(), exactly=True) == fresh


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_update_tables_keeps_rows_when_database_is_old(
    engine: str, empty_database: str, version: str
) -> None:
    install(empty_database, engine, version)
    before = contents(DB.bound())
    assert before["eventmatch"]

    OrmSync.update_tables()
    after = contents(DB.bound())
    for table, rows in before.items():
        kept = [
            {name: row[name] for name in old} for old, row in zip(rows, after[table], strict=True)
        ]
        assert kept == [
            {**row, "auth": row["auth"] or "{}"} if "auth" in row else row for row in rows
        ]


def test_update_tables_makes_subscriptions_readable_when_they_have_no_auth(
    engine: str, empty_database: str
) -> None:
    install(empty_database, engine, "1.0")
    OrmSync.update_tables()
    assert [row.to_hash()["auth"] for row in EventMatch.select()] == [{}] * 9
    assert EventMatch.get(EventMatch.user == "Alice").name == "basic é 🐦"
    assert EventMatch.select().where(EventMatch.revision == 0).count() == 9
    assert Counter.get_by_id("subscriptions").value == 0


def test_update_tables_holds_for_those_that_an_error_disabled_when_database_is_old(
    engine: str, empty_database: str
) -> None:
    install(empty_database, engine, "3.0")
    OrmSync.update_tables()
    holding = [row.name for row in EventMatch.select().where(EventMatch.holding)]
    assert holding == ["disabled by an error"]


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_update_tables_gives_each_old_subscription_one_revision_from_its_last_change(
    engine: str, empty_database: str, version: str
) -> None:
    install(empty_database, engine, version)
    OrmSync.update_tables()
    OrmSync.update_tables()
    revisions = [
        (row.subscription, row.changed, row.action, row.jsonpath, row.deleted)
        for row in Revision.select().order_by(Revision.subscription)
    ]
    assert revisions == [
        (row.uuid, row.updated, "migrated", row.jsonpath, row.deleted)
        for row in EventMatch.select().order_by(EventMatch.uuid)
    ]


def test_update_tables_leaves_nothing_to_do_when_events_are_old(
    engine: str, empty_database: str
) -> None:
    install(empty_database, engine, "3.0")
    OrmSync.update_tables()
    states = {
        (row.policy_status_code, row.target_status_code): row.state
        for row in EventLogMatch.select()
    }
    assert states == {
        ("200", "200"): "delivered",
        ("200", "204"): "delivered",
        ("412", ""): "denied",
        ("500", ""): "denied",
        ("200", "500"): "failed",
        ("200", "404"): "failed",
        ("200", ""): "failed",
        ("", ""): "failed",
    }
    for match in EventLogMatch.select():
        assert (match.due, match.attempts, match.updated) == (None, 0, match.created)
    assert [event.due for event in EventLog.select()] == [None]


def test_update_tables_enforces_foreign_keys_when_database_was_old(
    engine: str, empty_database: str
) -> None:
    install(empty_database, engine, "2.0")
    OrmSync.update_tables()
    subscription = EventMatch.select().first()
    with pytest.raises(peewee.IntegrityError):
        EventLogMatch.create(event_log=subscription.uuid, event_match=subscription, state="failed")


@pytest.mark.usefixtures("database")
def test_update_tables_changes_nothing_when_database_is_ours() -> None:
    EventLog.create(jsondata="{}")
    before = (columns_and_keys(DB.bound(), exactly=True), contents(DB.bound()))
    assert OrmSync.update_tables() is True
    assert (columns_and_keys(DB.bound(), exactly=True), contents(DB.bound())) == before


def test_update_tables_migrates_once_when_processes_start_together(
    engine: str, empty_database: str
) -> None:
    install(empty_database, engine, "1.0")
    with children(MIGRATE, MIGRATE, MIGRATE) as processes:
        logs = "".join(release(processes))
    assert logs.count("migrating") == 3
    assert NotificationSystem.is_equal()
    assert EventMatch.select().count() == 9


@pytest.mark.usefixtures("empty_database")
def test_update_tables_gives_up_when_another_migration_does_not_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(schema, "LOCK_WAIT", 1)
    with children(HOLD_THE_LOCK) as holder:
        with pytest.raises(StoreUnavailable) as refusal:
            OrmSync.update_tables()
        assert "\n" not in str(refusal.value)
        release(holder)
    assert OrmSync.update_tables() is True


@pytest.mark.parametrize("version", ["0.0", "3.0"])
def test_update_tables_finishes_when_it_was_interrupted_anywhere(
    engine: str, empty_database: str, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(empty_database, engine, version)
    OrmSync.update_tables()
    expected = (columns_and_keys(DB.bound(), exactly=True), contents(DB.bound()))

    # Where one transaction holds the whole migration, a few places stand for all.
    stride = 10 if engine == "postgresql" else 1
    interrupted = True
    statements = 0
    while interrupted:
        DB.unbind()
        databases.empty(empty_database)
        install(empty_database, engine, version)
        with monkeypatch.context() as patch:
            _interrupt_after(statements, patch)
            try:
                OrmSync.update_tables()
            except Interrupted:
                assert not NotificationSystem.is_equal()
            else:
                interrupted = False
        OrmSync.update_tables()
        assert (columns_and_keys(DB.bound(), exactly=True), contents(DB.bound())) == expected
        statements += stride
    assert statements > 10


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("found", [(4, 1), (5, 0), (3, 7)])
def test_update_tables_refuses_in_one_line_when_version_is_unknown(
    found: tuple[int, int],
) -> None:
    record_version(found)
    with pytest.raises(SchemaMismatch) as refusal:
        OrmSync.update_tables()
    assert str(refusal.value) == (
        f"the database has schema version {found[0]}.{found[1]} and this program needs 4.0: "
        "upgrade the program"
    )
    assert NotificationSystem.get_version() == found


@pytest.mark.usefixtures("empty_database")
@pytest.mark.parametrize("engine", databases.ON_SERVERS, indirect=True)
def test_migration_session_lets_a_statement_take_longer_when_statements_are_limited(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = {"postgresql": "SELECT pg_sleep(1.2)", "mariadb": "SELECT SLEEP(1.2)"}[engine]
    monkeypatch.setenv("DATABASE_STATEMENT_TIMEOUT", "1")
    with pytest.raises(peewee.OperationalError):
        DB.execute_sql(slow)
    DB.unbind()
    with schema.migration_session():
        assert DB.execute_sql(slow).fetchone()


def test_update_tables_leaves_no_lock_when_connections_are_pooled(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, separator, place = empty_database.partition("://")
    pooled = f"{scheme}+pool{separator}{place}"
    with databases.configured(pooled, monkeypatch):
        assert OrmSync.update_tables() is True
        with children(HOLD_THE_LOCK) as holder:
            release(holder)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_update_tables_says_why_when_database_refuses(
    empty_database: str,
) -> None:
    databases.execute(empty_database, "CREATE TABLE eventmatch (name TEXT)")
    with pytest.raises(StoreUnavailable, match=r"^the database was not migrated: no such column"):
        OrmSync.update_tables()
    assert NotificationSystem.get_version() == (0, 0)


def _interrupt_after(statements: int, patch: pytest.MonkeyPatch) -> None:
    left = iter(range(statements))
    execute = Tables.execute

    def interrupted(tables: Tables, sql: str) -> None:
        if next(left, None) is None:
            raise Interrupted
        execute(tables, sql)

    patch.setattr(Tables, "execute", interrupted)
