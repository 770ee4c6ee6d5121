"""Recording what targets answered, whatever the database makes of it."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from uuid import UUID

import pytest
from playhouse.db_url import parse

from tests.integration.stages.flow import (
    Flow,
    answering,
    match_of,
    matches,
    row,
)
from tests.support import databases
from tests.support.servers import AnswerTriple, Received, eventually

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)


@pytest.fixture
def refusing(database: str) -> str:
    """A database that refuses to record one answer; returns that answer."""
    trigger = """
        CREATE TRIGGER refuse BEFORE UPDATE ON eventlogmatch
        WHEN NEW.target_resp_body = 'refuse me'
        BEGIN SELECT RAISE(ABORT, 'refused'); END
    """
    databases.execute(database, trigger)
    return "refuse me"


@contextmanager
def without_table(database: str) -> Iterator[None]:
    """Have the database answer nothing about deliveries."""
    databases.execute(database, "ALTER TABLE eventlogmatch RENAME TO away")
    yield
    databases.execute(database, "ALTER TABLE away RENAME TO eventlogmatch")


@contextmanager
def kept_from_writing(database: str) -> Iterator[None]:
    """Have everybody who writes wait."""
    with closing(sqlite3.connect(parse(database)["database"], isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[str], bool]:
    """Tell whether the log has some words."""
    return lambda words: words in caplog.text


def sent(flow: Flow) -> tuple[UUID, threading.Event]:
    """Send an event; returns it and what lets its target answer."""
    answers = threading.Event()
    flow.target.answer = lambda _received: (200, {}, str(answers.wait(10)).encode())
    flow.subscribe()
    return flow.hand_over(), answers


def test_answer_is_recorded_when_an_outage_of_the_database_is_over(
    flow: Flow, database: str, said: Callable[[str], bool]
) -> None:
    event, answers = sent(flow)
    with without_table(database):
        answers.set()
        eventually(lambda: said("the database fails"))
    flow.settle()
    assert match_of(event).state == "delivered"
    assert len(flow.target.requests) == 1


def test_delivery_is_made_again_when_the_database_stays_away_for_its_lease(
    make_flow: Callable[..., Flow], database: str, said: Callable[[str], bool]
) -> None:
    flow = make_flow(celery_lease=1.0)
    event, answers = sent(flow)
    with without_table(database):
        answers.set()
        flow.settle()
    assert said("made again")
    assert match_of(event).state == "allowed"
    flow.go_on(event)
    assert match_of(event).state == "delivered"
    assert len(flow.target.requests) == 2


def test_worker_ends_when_the_database_takes_no_answer(
    flow: Flow, database: str, said: Callable[[str], bool]
) -> None:
    event, answers = sent(flow)
    with without_table(database):
        answers.set()
        eventually(lambda: said("the database fails"))
        flow.close()
        assert said("made again")
    assert match_of(event).state == "allowed"


def test_answers_are_recorded_after_one_that_the_database_refused(
    flow: Flow, refusing: str
) -> None:
    flow.target.answer = answering(200, refusing.encode())
    flow.subscribe()
    refused = flow.send()
    assert match_of(refused).state == "allowed"
    flow.target.answer = answering(200)
    assert match_of(flow.send()).state == "delivered"
    flow.go_on(refused)
    assert match_of(refused).state == "delivered"


def test_answers_are_recorded_beside_one_that_the_database_refuses(
    flow: Flow, database: str, refusing: str
) -> None:
    begins = threading.Event()
    answers = iter([(200, "1"), (200, refusing), (404, "gone"), (200, "2"), (200, "3")])

    def answer(_received: Received) -> AnswerTriple:
        begins.wait(10)
        status, body = next(answers)
        return status, {}, body.encode()

    flow.target.answer = answer
    for _ in range(5):
        flow.subscribe()
    event = flow.hand_over()
    with kept_from_writing(database):  # so that those after the first are recorded together
        begins.set()
        eventually(lambda: flow.recorder.unrecorded == 5)
    flow.settle()
    states = Counter(match.state for match in matches(event))
    assert states == {"delivered": 3, "held": 1, "allowed": 1}
    disabled = [row(match.subscription).disabled is not None for match in matches(event)]
    assert disabled.count(True) == 1
