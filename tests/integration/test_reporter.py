"""When a process reports what it counted, and that its worker lives."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pacifica.notifications.metrics import SWEEPS, Tallies
from pacifica.notifications.stages.report import Reporter
from pacifica.notifications.store.monitoring import snapshot
from tests.support import databases
from tests.support.servers import eventually

pytestmark = [
    pytest.mark.parametrize("engine", ["sqlite"], indirect=True),
    pytest.mark.usefixtures("database"),
]


@pytest.fixture
def tallies() -> Tallies:
    return Tallies()


@pytest.fixture
def reporter(tallies: Tallies) -> Iterator[Reporter]:
    made = Reporter(tallies, interval=0.02)
    yield made
    made.close()


def sweeps() -> int:
    return snapshot().totals.get("sweeps:", 0)


def test_counts_are_reported_now_and_then_by_a_thread(tallies: Tallies, reporter: Reporter) -> None:
    reporter.keep_reporting(threaded=True)
    for count in (1, 2):
        tallies.add(SWEEPS)
        eventually(lambda count=count: sweeps() == count)


def test_counts_are_reported_in_passing_when_there_are_no_threads(tallies: Tallies) -> None:
    reporter = Reporter(tallies, interval=3600)
    for _ in range(2):
        tallies.add(SWEEPS)
        reporter.keep_reporting(threaded=False)
        assert sweeps() == 1
    reporter.close()
    assert sweeps() == 2


def test_worker_is_renewed_until_it_ends(reporter: Reporter) -> None:
    reporter.start_worker("celery@here")
    reporter.start_worker("celery@here")
    eventually(lambda: snapshot().workers.processes == 1)
    reporter.close()
    assert snapshot().workers.processes == 0


def test_counts_wait_while_the_database_is_away(
    tallies: Tallies, reporter: Reporter, database: str
) -> None:
    databases.execute(database, "ALTER TABLE notificationstatistic RENAME TO away")
    tallies.add(SWEEPS)
    reporter.keep_reporting(threaded=False)
    databases.execute(database, "ALTER TABLE away RENAME TO notificationstatistic")
    reporter.close()
    assert sweeps() == 1


def test_a_request_goes_on_when_its_report_fails(
    tallies: Tallies, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("pacifica.notifications.stages.report.report", fail)
    tallies.add(SWEEPS)
    reporter.keep_reporting(threaded=False)


def test_process_ends_when_the_database_is_away(
    tallies: Tallies, reporter: Reporter, database: str
) -> None:
    reporter.start_worker("celery@here")
    eventually(lambda: snapshot().workers.processes == 1)
    tallies.add(SWEEPS)
    Path(database.removeprefix("sqliteext:///")).write_bytes(b"no database")
    reporter.close()
