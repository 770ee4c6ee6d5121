"""What a database on MariaDB can hold after it was migrated, and could not before."""

import peewee
import pytest

from pacifica.notifications.orm import DB, EventLog, EventMatch, OrmSync
from tests.support import databases
from tests.support.layouts import columns_and_keys, install

pytestmark = [
    pytest.mark.server,
    pytest.mark.parametrize("engine", [pytest.param("mariadb", id="mariadb")], indirect=True),
]


@pytest.fixture
def migrated(engine: str, empty_database: str) -> str:
    """Return the URL of a 3.0 database that was migrated."""
    install(empty_database, engine, "3.0")
    OrmSync.update_tables()
    return empty_database


@pytest.mark.usefixtures("migrated")
def test_event_is_stored_whole_when_it_is_longer_than_a_text_column() -> None:
    text = "é🐦" * 50_000
    uuid = EventLog.create(jsondata=text).uuid
    assert EventLog.get_by_id(uuid).jsondata == text


@pytest.mark.usefixtures("migrated")
def test_moment_keeps_its_microseconds_when_it_is_stored() -> None:
    event = EventLog.create(jsondata="{}")
    event.created = event.created.replace(microsecond=123456)
    event.save()
    assert EventLog.get_by_id(event.uuid).created == event.created


@pytest.mark.usefixtures("migrated")
def test_users_are_told_apart_when_only_the_case_of_their_names_differs() -> None:
    assert EventMatch.select().where(EventMatch.user == "Alice").count() == 1
    assert EventMatch.select().where(EventMatch.user == "alice").count() == 6


@pytest.mark.parametrize("version", ["2.0", "3.0"])
def test_update_tables_converts_text_when_database_is_latin1(
    engine: str, empty_database: str, version: str
) -> None:
    OrmSync.update_tables()
    fresh = columns_and_keys(DB.bound(), exactly=True)
    DB.unbind()
    databases.empty(empty_database)

    name = empty_database.rpartition("/")[2]
    databases.execute(empty_database, f"ALTER DATABASE {name} CHARACTER SET latin1")
    install(empty_database, engine, version, rows=False, character_set="latin1")
    databases.execute(
        empty_database,
        "INSERT INTO eventmatch VALUES ('8a598c586f734d5c8b9f575f5ee12cfb', 'café', '$', 'zoë', "
        "NULL, NULL, 'http://h', 'v0.1', '{}', NOW(), NOW(), NULL, NULL)",
    )
    OrmSync.update_tables()
    assert columns_and_keys(DB.bound(), exactly=True) == fresh
    subscription = EventMatch.get()
    assert (subscription.name, subscription.user) == ("café", "zoë")
    subscription.name = "🐦"
    subscription.save()
    assert EventMatch.get().name == "🐦"


def test_update_tables_restores_foreign_keys_when_it_died_while_they_were_dropped(
    engine: str, empty_database: str
) -> None:
    install(empty_database, engine, "3.0")
    databases.execute(
        empty_database,
        "ALTER TABLE eventlogmatch DROP FOREIGN KEY eventlogmatch_ibfk_1, "
        "DROP FOREIGN KEY eventlogmatch_ibfk_2;"
        "ALTER TABLE eventmatch CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    )
    OrmSync.update_tables()
    keys = DB.get_foreign_keys("eventlogmatch")
    assert {(key.column, key.dest_table) for key in keys} == {
        ("event_log_id", "eventlog"),
        ("event_match_id", "eventmatch"),
    }
    with pytest.raises(peewee.IntegrityError):
        EventLog.delete().execute()
