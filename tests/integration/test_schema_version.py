"""Whether this code can work on the database that it finds."""

import pytest

from pacifica.notifications.errors import SchemaMismatch, StoreUnavailable
from pacifica.notifications.orm import NotificationSystem, check_safe
from pacifica.notifications.orm.schema import record_version

only_sqlite = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.mark.usefixtures("empty_database")
def test_get_version_is_0_0_when_there_is_no_table() -> None:
    assert NotificationSystem.get_version() == (0, 0)
    assert NotificationSystem.get_or_create_version() == (0, 0)
    assert not NotificationSystem.table_exists()


@only_sqlite
@pytest.mark.usefixtures("database")
def test_get_or_create_version_records_ours_when_table_is_empty() -> None:
    NotificationSystem.delete().execute()
    assert NotificationSystem.get_version() == (0, 0)
    assert NotificationSystem.get_or_create_version() == (4, 0)
    assert NotificationSystem.get_version() == (4, 0)


@only_sqlite
@pytest.mark.parametrize(
    ("version", "equal", "safe"),
    [
        ((4, 0), True, True),
        ((4, 1), False, True),
        ((3, 0), False, False),
        ((5, 0), False, False),
        ((0, 0), False, False),
    ],
)
@pytest.mark.usefixtures("database")
def test_version_is_judged_by_its_major_and_minor_when_it_is_recorded(
    version: tuple[int, int], equal: bool, safe: bool
) -> None:
    record_version(version)
    assert NotificationSystem.get_version() == version
    assert NotificationSystem.get_or_create_version() == version
    assert NotificationSystem.is_equal() is equal
    assert NotificationSystem.is_safe() is safe


@only_sqlite
@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ((3, 0), "run `pacifica-notifications-cmd dbsync`"),
        ((0, 0), "run `pacifica-notifications-cmd dbsync`"),
        ((5, 0), "upgrade the program"),
    ],
)
@pytest.mark.usefixtures("database")
def test_check_safe_says_what_to_do_when_version_is_another(
    version: tuple[int, int], remedy: str
) -> None:
    record_version(version)
    with pytest.raises(SchemaMismatch) as refusal:
        check_safe()
    assert str(refusal.value) == (
        f"the database has schema version {version[0]}.{version[1]} "
        f"and this program needs 4.0: {remedy}"
    )


@only_sqlite
@pytest.mark.parametrize("version", [(4, 0), (4, 1)])
@pytest.mark.usefixtures("database")
def test_check_safe_agrees_when_major_version_is_ours(version: tuple[int, int]) -> None:
    record_version(version)
    check_safe()
    assert NotificationSystem.get_version() == version


@pytest.mark.usefixtures("absent_database")
def test_get_version_is_unavailable_when_database_is_absent() -> None:
    with pytest.raises(StoreUnavailable) as refusal:
        NotificationSystem.get_version()
    assert refusal.value.__cause__ is not None
