"""A database as it is after years: 10,000 subscriptions and 100,000 deliveries of one user."""

import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.ui.workbench import example

SUBSCRIPTIONS: Final = 10_000
DELIVERIES: Final = 100_000
#: One in so many subscriptions is disabled by an error, and one in so many deliveries failed.
DISABLED, FAILED = 100, 20
#: The transaction of the oldest event; the others follow it.
FIRST: Final = 1_000_000
#: Deliveries are this far from each other.
STEP: Final = timedelta(seconds=20)
#: What users, events and receivers may write to do harm.
ODD: Final = (
    "</bdi><script>alert(1)</script>\u202egnp.exe\u202c \u0634\u0628\u0643\u0629 " + "W" * 150
)
#: The subscription of all deliveries, and the one of a single delivery in which all is odd.
BUSY, STRANGE = UUID(int=1), UUID(int=2)
STRANGE_DELIVERY: Final = UUID(int=3)
EXPRESSION: Final = '$.data[*][?(@.destinationTable = "Transactions.instrument" and @.value = 1)]'


def fill(database: str, user: str, target: str) -> None:
    """Write it all into a database of SQLite that no program uses yet."""
    with sqlite3.connect(database.partition(":///")[2]) as connection:
        now = utcnow()
        _insert(connection, "eventmatch", _subscriptions(user, target, now))
        _insert(connection, "eventlog", _events(now))
        _insert(connection, "eventlogmatch", _deliveries(now))
        _insert(connection, "notificationattempt", _attempts(now, target))
        connection.execute("ANALYZE")
    connection.close()


def _subscriptions(user: str, target: str, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(1, SUBSCRIPTIONS + 1):
        moment = now - timedelta(days=400) + timedelta(minutes=number)
        is_disabled = number % DISABLED == 0
        names = {BUSY.int: "The busy one", STRANGE.int: ODD}
        yield {
            "uuid": UUID(int=number).hex,
            "name": names.get(number, f"Subscription {number}"),
            "jsonpath": f'$["{ODD}"]' if number == STRANGE.int else EXPRESSION,
            "user": user,
            "target_url": f"{target}/odd" if number == STRANGE.int else f"{target}/good",
            "version": "v0.1",
            "extensions": "{}",
            "auth": "{}",
            "created": str(moment),
            "updated": str(moment),
            "disabled": str(now - timedelta(hours=number)) if is_disabled else None,
            "error": "something went wrong" if is_disabled else None,
            "holding": int(is_disabled),
            "unmatched": 0,
            "probes": 0,
            "specversion": "",
            "mode": "structured",
            "revision": 0,
        }


def _events(now: datetime) -> Iterator[dict[str, Any]]:
    template = example()
    value = f'"value": {json.loads(template)["data"][0]["value"]}'
    assert template.count(value) == 1
    for number in range(DELIVERIES):
        transaction = FIRST + number
        about = f"metadata.ingest.{transaction}"
        text = template.replace(value, f'"value": {transaction}')
        kind = "org.pacifica.metadata.doientry" if number % 10 == 0 else None
        yield _event(_event_id(number), text, _moment(now, number), about, transaction, kind)
    event = {"eventType": ODD, "eventID": ODD, "source": ODD, "cloudEventsVersion": "0.1"}
    event["data"] = [{"destinationTable": ODD, ODD: ODD, "value": 1}]
    yield _event(STRANGE.hex, json.dumps(event), now, ODD, None, ODD)


def _event(
    uuid: str, text: str, moment: datetime, about: str, transaction: int | None, kind: str | None
) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "jsondata": text,
        "created": str(moment),
        "attempts": 0,
        "hops": 0,
        "specversion": "0.1",
        "event_type": kind or "org.pacifica.metadata.ingest",
        "event_source": "http://metadata.example.org",
        "event_id": about,
        "event_time": "",
        "transaction_id": transaction,
    }


def _deliveries(now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(DELIVERIES):
        moment, is_failed = _moment(now, number), number % FAILED == 1
        state, status = ("failed", "503") if is_failed else ("delivered", "200")
        uuid = UUID(int=10**9 + number).hex
        yield _delivery(uuid, _event_id(number), BUSY, moment, state, status)
    yield _delivery(STRANGE_DELIVERY.hex, STRANGE.hex, STRANGE, now, "failed", "422")


def _delivery(
    uuid: str, event: str, subscription: UUID, moment: datetime, state: str, status: str
) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "event_log_id": event,
        "event_match_id": subscription.hex,
        "policy_status_code": "200",
        "policy_resp_body": "",
        "target_status_code": status,
        "target_resp_body": "",
        "created": str(moment),
        "updated": str(moment + timedelta(seconds=0.1)),
        "state": state,
        "attempts": 0,
        "tries": 1,
        "cause": "automatic",
    }


def _attempts(now: datetime, target: str) -> Iterator[dict[str, Any]]:
    yield {
        "delivery": STRANGE_DELIVERY.hex,
        "number": 1,
        "started": str(now),
        "milliseconds": 5,
        "cause": "automatic",
        "url": f"{target}/{'w' * 200}",
        "address": "127.0.0.1",
        "request": json.dumps([["X-Odd", ODD]]),
        "status": 422,
        "response": json.dumps([["X-Odd", ODD]]),
        "body": ODD,
        "truncated": 1,
        "outcome": "given_up",
    }


def _moment(now: datetime, number: int) -> datetime:
    return now - timedelta(minutes=5) - STEP * (DELIVERIES - number)


def _event_id(number: int) -> str:
    return UUID(int=10**6 + number).hex


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[dict[str, Any]]) -> None:
    first = next(rows)
    names, marks = ", ".join(first), ", ".join("?" * len(first))
    statement = f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 our own names
    connection.execute(statement, tuple(first.values()))
    connection.executemany(statement, (tuple(each.values()) for each in rows))
