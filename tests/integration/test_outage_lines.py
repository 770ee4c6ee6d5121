"""What is written of outages of real servers."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from pacifica.notifications.broker.publisher import Publisher
from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.events import parse_event
from pacifica.notifications.orm import DB, OrmSync
from pacifica.notifications.store import events
from tests.support import databases
from tests.support.configured import changed
from tests.support.servers import free_port

CALLS = 20


def fails(times: int = CALLS) -> None:
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            events.due_events(1)


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Configure another database."""

    def to(url: str) -> None:
        monkeypatch.setenv("PEEWEE_URL", url)
        DB.unbind()

    return to


CAUSE_OF_ABSENCE = {
    "sqlite": "the database fails: not writable (",
    "postgresql": "the database fails: no such database (",
    "mariadb": "the database fails: no such database (",
}


def test_absent_database_is_one_line_until_it_is_there(
    engine: str, absent_database: str, caplog: pytest.LogCaptureFixture
) -> None:
    fails()
    (line,) = caplog.messages
    assert line.startswith(CAUSE_OF_ABSENCE[engine])
    databases.create(absent_database)
    OrmSync.dbconn_blocking()
    OrmSync.update_tables()
    events.due_events(1)
    last = caplog.messages[-1]
    assert last.startswith("the database works again after ")
    assert sum(line.startswith("the database fails") for line in caplog.messages) == 1


@pytest.mark.parametrize("engine", databases.ON_SERVERS, indirect=True)
def test_absent_server_is_one_line_with_its_cause(
    absent_database: str, configure: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    scheme = absent_database.partition("://")[0]
    configure(f"{scheme}://somebody:canary@127.0.0.1:{free_port()}/name")
    fails()
    (line,) = caplog.messages
    assert line.startswith("the database fails: connection refused (")
    assert "canary" not in line


@pytest.mark.parametrize("engine", databases.ON_SERVERS, indirect=True)
def test_unknown_role_is_one_line_with_its_cause(
    engine: str,
    empty_database: str,
    configure: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    role, name = f"role_{uuid4().hex[:8]}", empty_database.rpartition("/")[2]
    place = empty_database.partition("@")[2].partition("/")[0]
    configure(f"{empty_database.partition('://')[0]}://{role}:canary@{place}/{name}")
    fails()
    (line,) = caplog.messages
    cause = {"postgresql": "no such role", "mariadb": "user or password refused"}[engine]
    assert line.startswith(f"the database fails: {cause} (")
    assert "canary" not in line


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
@pytest.mark.usefixtures("database")
def test_full_disk_is_one_line_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    event = parse_event(b'{"data": "%s"}' % (b"a" * 2_000_000), 100)
    DB.pragma("max_page_count", 100, permanent=True)
    with pytest.raises(StoreUnavailable):
        events.record_all([event])
    assert caplog.messages == ["the database fails: disk full (database or disk is full)"]
    DB.pragma("max_page_count", 1_000_000, permanent=True)
    events.record_all([event])
    assert caplog.messages[1].startswith("the database works again after ")


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("amqp://somebody:canary@127.0.0.1:{port}//", "connection refused"),
        ("redis://:canary@127.0.0.1:{port}/0", "connection refused"),
        ("amqp://somebody:canary@nowhere.invalid//", "host not found"),
    ],
)
def test_absent_broker_is_one_line_with_its_cause(
    url: str, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = changed(
        load_settings(), celery_broker_url=url.format(port=free_port()), celery_publish_pause=0.0
    )
    publisher = Publisher(settings.celery, 50, lambda: None)
    for _ in range(5):
        publisher.nudge_sweep()
    assert caplog.messages == [f"the broker fails: {cause}"]


def test_broker_that_is_back_is_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "messages"
    settings = changed(
        load_settings(),
        celery_broker_url=f"filesystem://localhost{tmp_path}",
        celery_publish_pause=0.0,
    )
    publisher = Publisher(settings.celery, 50, lambda: None)
    publisher.nudge_sweep()
    folder.rename(tmp_path / "moved")
    folder.write_text("no folder")
    for _ in range(5):
        publisher.nudge_sweep()
    folder.unlink()
    folder.mkdir()
    publisher.nudge_sweep()
    began, ended = (line for line in caplog.messages if "the broker" in line)
    assert began == "the broker fails: not a directory"
    assert ended.endswith(" and 5 failures")
