"""Recording what targets answered, whatever the database makes of it."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from playhouse.db_url import parse

from tests.integration.stages.flow import (
    ANSWERS,
    Flow,
    answering,
    match_of,
    row,
    state_of,
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


def test_delivery_is_made_again_when_its_answer_came_during_an_outage_of_the_database(
    flow: Flow, database: str
) -> None:
    answers = threading.Event()
    flow.target.answer = lambda _received: (200, {}, str(answers.wait(10)).encode())
    flow.subscribe()
    event = flow.hand_over()
    with without_table(database):
        answers.set()
        assert flow.pipeline.deliverer.settle(ANSWERS)
    assert match_of(event).state == "allowed"
    flow.go_on(event)
    assert match_of(event).state == "delivered"


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
    first, others = threading.Event(), threading.Event()

    def answer(received: Received) -> AnswerTriple:
        (first if received.path == "/1" else others).wait(10)
        status, body = {"/bad": (200, refusing), "/gone": (404, "gone")}.get(
            received.path, (200, "good")
        )
        return status, {}, body.encode()

    flow.target.answer = answer
    paths = ["/1", "/2", "/bad", "/gone", "/3", "/4"]
    to = {path: flow.subscribe(target_url=flow.target.url + path) for path in paths}
    event = flow.hand_over()
    recorder = flow.pipeline.deliverer._recorder
    with kept_from_writing(database):  # so that the others are recorded at once after the first
        first.set()
        eventually(lambda: recorder._unrecorded == 1)
        others.set()
        eventually(lambda: recorder._unrecorded == len(paths))
    assert flow.pipeline.deliverer.settle(ANSWERS)
    states = {path: state_of(event, subscription) for path, subscription in to.items()}
    assert states.pop("/bad") == "allowed"
    assert states.pop("/gone") == "held"
    assert row(to["/gone"]).disabled is not None
    assert set(states.values()) == {"delivered"}
