"""The record of notifications and runs: what waits is taken once, and nothing is forgotten."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.consumer.ledger import Ledger, Mode, Run, State

EVENT = {"id": "é", "type": "ingest", "source": None}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.prepare()
    ledger.switch(Mode.OPEN)
    return ledger


def added(ledger: Ledger, count: int = 1) -> list[UUID]:
    uuids = [uuid4() for _ in range(count)]
    assert all(ledger.add(uuid, 1000, EVENT) for uuid in uuids)
    return uuids


def claimed(ledger: Ledger) -> Run:
    taken = ledger.claim()
    assert taken is not None
    return taken


def test_claim_takes_what_waits_longest_first_and_each_once(ledger: Ledger) -> None:
    uuids = added(ledger, 3)
    assert [claimed(ledger).uuid for _ in uuids] == uuids
    assert ledger.claim() is None
    assert ledger.counts()["running"] == 3


def test_claim_gives_no_two_threads_the_same(ledger: Ledger) -> None:
    uuids = added(ledger, 40)
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: claimed(ledger).uuid, uuids))
    assert sorted(taken) == sorted(uuids)


@pytest.mark.parametrize("mode", [Mode.CLOSING, Mode.ENDING])
def test_claim_takes_nothing_while_the_consumer_ends(ledger: Ledger, mode: Mode) -> None:
    added(ledger)
    ledger.switch(mode)
    assert ledger.mode() is mode
    assert ledger.claim() is None
    ledger.switch(Mode.OPEN)
    assert ledger.claim() is not None


def test_claim_takes_nothing_of_an_old_ledger_before_it_is_opened(ledger: Ledger) -> None:
    added(ledger)
    ledger.prepare()
    assert ledger.claim() is None


def test_add_refuses_when_too_many_wait(ledger: Ledger) -> None:
    assert [ledger.add(uuid4(), 2, EVENT) for _ in range(3)] == [True, True, False]
    claimed(ledger)
    assert ledger.add(uuid4(), 2, EVENT)
    assert ledger.counts() == {
        "waiting": 2,
        "running": 1,
        "done": 0,
        "failed": 0,
        "unmatched": 0,
    }


def test_run_that_is_given_back_is_taken_again_and_counts_its_attempts(ledger: Ledger) -> None:
    (uuid,) = added(ledger)
    assert claimed(ledger).attempts == 1
    ledger.note_mark(uuid, "mark")
    (running,) = ledger.running()
    assert running.mark == "mark"
    ledger.give_back(uuid)
    assert ledger.running() == []
    again = claimed(ledger)
    assert (again.uuid, again.attempts, again.mark) == (uuid, 2, None)


def test_end_notes_how_and_when(ledger: Ledger) -> None:
    (uuid,) = added(ledger)
    began = claimed(ledger).began
    ledger.end(uuid, State.FAILED, "exit status 3")
    (run,) = ledger.newest(10)
    assert (run.state, run.outcome) == (State.FAILED, "exit status 3")
    assert began is not None
    assert run.ended is not None
    assert run.received <= began <= run.ended


def test_newest_gives_the_last_ones_first(ledger: Ledger) -> None:
    uuids = added(ledger, 5)
    assert [run.uuid for run in ledger.newest(2)] == [uuids[4], uuids[3]]


def test_forget_ended_keeps_the_newest_and_all_that_have_not_ended(ledger: Ledger) -> None:
    uuids = added(ledger, 6)
    for uuid in uuids[:4]:
        claimed(ledger)
        ledger.end(uuid, State.DONE)
    claimed(ledger)
    assert ledger.forget_ended(1) == uuids[:3]
    assert {run.uuid for run in ledger.newest(10)} == set(uuids[3:])
    assert not ledger.is_known(uuids[0])
    assert ledger.is_known(uuids[3])


def test_run_names_its_event(ledger: Ledger) -> None:
    added(ledger)
    assert claimed(ledger).event == EVENT


def test_ledger_of_an_earlier_build_is_gone_on_with(ledger: Ledger, tmp_path: Path) -> None:
    (uuid,) = added(ledger)
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as connection:
        connection.execute("ALTER TABLE runs DROP COLUMN event")
    ledger.prepare()
    ledger.switch(Mode.OPEN)
    assert (claimed(ledger).uuid, ledger.running()[0].event) == (uuid, {})


def test_ledger_outlives_its_process(ledger: Ledger, tmp_path: Path) -> None:
    uuids = added(ledger, 2)
    claimed(ledger)
    again = Ledger(tmp_path / "ledger.sqlite3")
    assert [run.uuid for run in again.running()] == uuids[:1]
    assert claimed(again).uuid == uuids[1]


def test_write_is_given_up_when_somebody_holds_the_file(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacifica.notifications.consumer.ledger._BUSY", 0.1)
    holder = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        ledger.add(uuid4(), 10, EVENT)
    assert ledger.counts()["waiting"] == 0
    holder.close()
    assert ledger.add(uuid4(), 10, EVENT)
