"""What is written of an outage: its cause, its length, and nothing in between but a count."""

import logging
import socket

import peewee
import pytest

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.orm.causes import outage_cause
from pacifica.notifications.outages import Outage, cause_of

LOG = logging.getLogger(__name__)


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage(LOG, "the broker", clock)


def test_outage_is_a_line_at_both_ends(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    outage.worked()
    for _ in range(1000):
        outage.failed("connection refused")
        clock.now += 0.01
    outage.worked()
    outage.worked()
    assert caplog.messages == [
        "the broker fails: connection refused",
        "the broker works again after 10.0 s and 1000 failures",
    ]


def test_outage_is_a_line_a_minute_in_between(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(150):
        outage.failed("time-out")
        clock.now += 1
    assert caplog.messages == [
        "the broker fails: time-out",
        "the broker still fails after 60 s, 60 times since the last line: time-out",
        "the broker still fails after 120 s, 60 times since the last line: time-out",
    ]


def test_what_fails_and_works_in_turns_fills_no_log(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(10_000):
        outage.failed("too many connections")
        outage.worked()
        clock.now += 0.01
    assert len(caplog.messages) <= 20
    assert sum("works again" in line for line in caplog.messages) == len(caplog.messages) / 2


def test_outages_apart_are_told_each(
    outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for cause in ("connection refused", "time-out"):
        outage.failed(cause)
        clock.now += 2
        outage.worked()
        clock.now += 2
    assert caplog.messages == [
        "the broker fails: connection refused",
        "the broker works again after 2.0 s and 1 failures",
        "the broker fails: time-out",
        "the broker works again after 2.0 s and 1 failures",
    ]


class AccessRefused(Exception):
    """An error as a library of a broker raises it."""


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
        (OSError(28, "No space left on device"), "no space left on device"),
        (socket.gaierror(-2, "Name or service not known"), "host not found"),
        (TimeoutError("timed out"), "time-out"),
        (AccessRefused("amqp://u:canary@h"), "access refused"),
        (ValueError("canary"), "value error"),
    ],
    ids=str,
)
def test_cause_of_a_failed_connection_is_in_words(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause
    wrapping = RuntimeError("canary")
    wrapping.__cause__ = error
    assert cause_of(wrapping) in (cause, "runtime error")


DRIVERS = [
    ("database or disk is full", "disk full"),
    ('could not extend file "base/1/2": No space left on device', "disk full"),
    ('connection to server at "h" failed: FATAL:  database "x" does not exist', "no such database"),
    ("Unknown database 'x'", "no such database"),
    ('FATAL:  role "x" does not exist', "no such role"),
    ('FATAL:  password authentication failed for user "x"', "user or password refused"),
    ("Access denied for user 'x'@'h' (using password: YES)", "user or password refused"),
    ('could not translate host name "h" to address: Name or service not known', "host not found"),
    (
        "Can't connect to MySQL server on 'h' ([Errno -2] Name or service not known)",
        "host not found",
    ),
    (
        'connection to server at "127.0.0.1", port 9 failed: Connection refused\n\tIs it running?',
        "connection refused",
    ),
    ("Can't connect to MySQL server on 'h' ([Errno 111] Connection refused)", "connection refused"),
    ("FATAL:  sorry, too many clients already", "too many connections"),
    ("FATAL:  the database system is starting up", "the server starts or stops"),
    ("canceling statement due to statement timeout", "time-out"),
    ("Can't connect to MySQL server on 'h' (timed out)", "time-out"),
    ("server closed the connection unexpectedly", "connection lost"),
    ("Lost connection to MySQL server during query", "connection lost"),
    ("database is locked", "locked"),
    ("unable to open database file", "not writable"),
    ("attempt to write a readonly database", "not writable"),
]


@pytest.mark.parametrize(("said", "cause"), DRIVERS)
def test_cause_of_a_database_s_outage_is_in_words(said: str, cause: str) -> None:
    error = StoreUnavailable("the database did not answer")
    error.__cause__ = peewee.OperationalError(2003, said)
    line = outage_cause(error)
    assert line.startswith(f"{cause} (")
    assert said.partition("\n")[0] in line
    assert "\n" not in line


def test_cause_is_the_error_itself_when_no_driver_says_more() -> None:
    assert outage_cause(StoreUnavailable("the database has no tables")).endswith("no tables")
