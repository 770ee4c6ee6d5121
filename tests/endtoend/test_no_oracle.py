"""What Policy denies, nothing else tells: two stores that differ by it give the same answers."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid5

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacifica.notifications.events import parse_event
from pacifica.notifications.flow import State
from pacifica.notifications.orm import (
    Attempt,
    EventLog,
    EventLogMatch,
    EventMatch,
    Revision,
    insert_rows,
    writing,
)
from pacifica.notifications.store.deliveries import matched_row
from pacifica.notifications.store.revisionlog import log_revision
from tests.integration.webservice import running
from tests.support import databases
from tests.support.deployments import CAPTURES, environment_of
from tests.support.processes import worker
from tests.support.servers import Received, RecordingServer, eventually
from tests.support.templates import migrated_database

INGEST = json.loads(next(each for each in CAPTURES if each.stem == "ingest").read_text())
START = datetime(2026, 11, 24, 12)
NAMES = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
#: The event that one of the stores has, which Policy denies to everybody but its other readers.
SECRET = "secret"  # noqa: S105
#: What the delivery of the secret is, for each user who may not see it: the name is the user.
USERS = {
    "denied": State.DENIED,
    "revoked": State.DELIVERED,
    "awaiting": State.MATCHED,
    "held": State.HELD,
}
EVENTS = ["e1", "e2", SECRET, "e3", "e4"]
OTHER = "other"


def uuid_of(name: str) -> UUID:
    """Return an id that is the same in both stores."""
    return uuid5(NAMES, name)


def moment_of(event: str) -> datetime:
    return START + timedelta(minutes=EVENTS.index(event))


@writing
def fill(events: list[str]) -> None:
    """Store a subscription of each user, and the deliveries of events to it."""
    for number, user in enumerate((*USERS, OTHER)):
        EventMatch.create(
            uuid=uuid_of(user),
            name=user,
            jsonpath="$.data",
            user=user,
            target_url="http://127.0.0.1:9/",
            created=START,
            updated=START,
            revision=number + 1,
        )
        log_revision(uuid_of(user), "created")
    Revision.update(changed=START).execute()
    for number, name in enumerate(events):
        body = {**INGEST, "eventID": name, "data": [*INGEST["data"], name]}
        body["data"][0] = {"destinationTable": "Transactions._id", "value": EVENTS.index(name)}
        about = parse_event(json.dumps(body).encode(), 100).summary
        EventLog.create(
            uuid=uuid_of(name),
            jsondata=json.dumps(body),
            created=moment_of(name),
            specversion="0.1",
            revision=number + 100,
            event_type=about.type,
            event_source=about.source,
            event_id=about.id,
            event_time=about.time,
            transaction_id=about.transaction,
        )
        for user in (*USERS, OTHER):
            state = USERS.get(user, State.DELIVERED) if name == SECRET else State.DELIVERED
            is_allowed = state is State.DELIVERED
            delivery = uuid_of(f"{user} {name}")
            row = matched_row(delivery, uuid_of(name), uuid_of(user), moment_of(name))
            status = "200" if is_allowed else ""
            also = {"state": state, "due": None, "tries": int(is_allowed)}
            row |= {**also, "policy_status_code": status, "target_status_code": status}
            insert_rows(EventLogMatch, [row])
            if is_allowed:
                Attempt.create(
                    delivery=delivery,
                    started=moment_of(name),
                    number=1,
                    milliseconds=7,
                    cause="automatic",
                    url="http://127.0.0.1:9/",
                    address="127.0.0.1:9",
                    request="[]",
                    status=200,
                    response="[]",
                    body=name,
                    truncated=False,
                    outcome="delivered",
                )


@dataclass(frozen=True)
class Stores:
    """Two services that differ by the secret alone: the second one has it."""

    urls: tuple[str, str]
    policy: RecordingServer

    def ask(self, method: str, path: str, user: str, body: Any = None) -> list[tuple[Any, ...]]:
        """Return what both answer, without the time of day."""
        return [self._ask(url, method, path, user, body) for url in self.urls]

    def finished(self, path: str, user: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what a job found on both, once it is over, without its id and its times."""
        headers = {"Idempotency-Key": json.dumps(body)} if "mode" in body else {}
        begun = [
            requests.post(
                url + path, json=body, headers={"Http-Remote-User": user, **headers}, timeout=20
            )
            for url in self.urls
        ]
        assert [each.status_code for each in begun] == [202, 202], begun[0].text
        found: list[dict[str, Any]] = []

        def are_over() -> bool:
            found[:] = [
                json.loads(self._ask(url, "GET", each.headers["Location"], user, None)[2])
                for url, each in zip(self.urls, begun, strict=True)
            ]
            return all(each["state"] != "running" for each in found)

        eventually(are_over, timeout=20)
        own = ("uuid", "created", "finished")
        return [{name: each[name] for name in each if name not in own} for each in found]

    def _ask(self, url: str, method: str, path: str, user: str, body: Any) -> tuple[Any, ...]:
        answer = requests.request(
            method,
            url + path,
            data=None if body is None else json.dumps(body),
            headers={"Http-Remote-User": user, "Content-Type": "application/json"},
            timeout=20,
            allow_redirects=False,
        )
        headers = {name: value for name, value in answer.headers.items() if name != "Date"}
        return answer.status_code, headers, answer.content


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    def answer(asked: Received) -> tuple[int, dict[str, str], bytes]:
        user = asked.path.rpartition("/")[2]
        is_denied = json.loads(asked.body)["eventID"] == SECRET and user != OTHER
        return (412 if is_denied else 200), {}, b"{}"

    with RecordingServer(answer) as policy, ExitStack() as stack:
        urls = []
        others = [each for each in EVENTS if each != SECRET]
        for name, events in (("without", others), ("with", EVENTS)):
            folder = tmp_path_factory.mktemp(name)
            database = stack.enter_context(migrated_database("sqlite", folder))
            with pytest.MonkeyPatch.context() as patch, databases.configured(database, patch):
                fill(events)
            environment = environment_of(
                folder, database, POLICY_URL=policy.url, CELERY_SWEEP_INTERVAL="0.3"
            )
            urls.append(stack.enter_context(running(environment, folder)).url)
            stack.enter_context(worker(environment, folder))
        yield Stores((urls[0], urls[1]), policy)


@st.composite
def requests_of(draw: st.DrawFn) -> tuple[str, str]:
    """Return a user, and the path of a request that asks about what they may not see."""
    user = draw(st.sampled_from(sorted(USERS)))
    whose = uuid_of(draw(st.sampled_from([user, user, user, OTHER, "nobody"])))
    event = draw(st.sampled_from(EVENTS))
    delivery = uuid_of(f"{draw(st.sampled_from([user, OTHER]))} {event}")
    near = moment_of(SECRET) + timedelta(microseconds=draw(st.integers(-1, 1)))
    microseconds = (near - datetime(1970, 1, 1)) // timedelta(microseconds=1)
    page = {
        "limit": str(draw(st.integers(1, 6))),
        "cursor": f"{microseconds}-{draw(st.sampled_from([delivery, uuid_of(event)])).hex}",
        "from": near.isoformat(),
        "to": draw(st.sampled_from([near, near + timedelta(minutes=1)])).isoformat(),
        "state": draw(st.sampled_from([*State, "nonsense"])),
        "status": draw(st.sampled_from(["2xx", "4xx", "x"])),
        "type": INGEST["eventType"],
    }
    name = draw(
        st.sampled_from([event, str(uuid_of(event)), str(EVENTS.index(event)), "nothing", "999"])
    )
    search = {"source": INGEST["source"], "q": name}
    chosen = draw(st.lists(st.sampled_from(sorted(page)), unique=True, max_size=4))
    query = "&".join(f"{name}={quote(page[name])}" for name in chosen)
    also = draw(st.lists(st.sampled_from(sorted(search)), unique=True))
    sought = "&".join([query, *(f"{name}={quote(search[name])}" for name in also)]).strip("&")
    path = draw(
        st.sampled_from(
            [
                f"/eventmatch/{whose}/deliveries?{query}",
                f"/eventmatch/{whose}/deliveries/{delivery}",
                f"/eventmatch/{whose}/revisions?{query}",
                f"/eventmatch/{whose}/explain/{quote(name, safe='')}",
                f"/eventmatch/{whose}/replays?{query}",
                f"/backtests?{query}",
                f"/events?{sought}",
                f"/events/{quote(name, safe='')}",
                "/audit",
            ]
        )
    )
    return user, path


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(asked=requests_of())
def test_reading_tells_nothing_of_what_is_denied(stores: Stores, asked: tuple[str, str]) -> None:
    user, path = asked
    without, with_it = stores.ask("GET", path, user)
    assert without == with_it


@pytest.mark.parametrize("user", sorted(USERS))
def test_sending_again_tells_nothing_of_what_is_denied(stores: Stores, user: str) -> None:
    secret, unknown = (uuid_of(f"{user} {name}") for name in (SECRET, "unknown"))
    path = f"/eventmatch/{uuid_of(user)}/deliveries"
    answers = [
        answer
        for delivery in (secret, unknown)
        for answer in stores.ask("POST", f"{path}/{delivery}/resend", user)
    ]
    assert answers == [answers[0]] * 4
    assert answers[0][0] == 403


@pytest.mark.parametrize("user", sorted(set(USERS) - {"revoked"}))
def test_absence_of_policy_tells_nothing_of_what_was_never_allowed(
    stores: Stores, user: str
) -> None:
    usual = stores.policy.answer
    stores.policy.answer = lambda _: (500, {}, b"")
    try:
        path = f"/eventmatch/{uuid_of(user)}/deliveries"
        for below in ("", f"/{uuid_of(f'{user} {SECRET}')}"):
            without, with_it = stores.ask("GET", path + below, user)
            assert without == with_it
    finally:
        stores.policy.answer = usual


@pytest.mark.parametrize("user", sorted(USERS))
def test_backtest_and_counted_replay_tell_nothing_of_what_is_denied(
    stores: Stores, user: str
) -> None:
    period = {"from": START.isoformat(), "to": (START + timedelta(hours=1)).isoformat()}
    last = f'$.data[?(@ = "{SECRET}")]'
    jobs: list[tuple[str, dict[str, Any]]] = [
        ("/backtests", {**period, "jsonpath": "$.data"}),
        ("/backtests", {**period, "jsonpath": last, "subscription": str(uuid_of(user))}),
    ]
    replays = f"/eventmatch/{uuid_of(user)}/replays"
    for mode in ("failed", "missing", "all"):
        for match in ("then", "now"):
            body = {**period, "mode": mode, "match": match, "dry_run": True}
            jobs.append((replays, body))
    for path, body in jobs:
        without, with_it = stores.finished(path, user, body)
        assert without == with_it
        assert without["state"] == "finished"


def test_those_who_may_see_it_do(stores: Stores) -> None:
    without, with_it = stores.ask("GET", f"/eventmatch/{uuid_of(OTHER)}/deliveries", OTHER)
    assert SECRET not in str(without[2])
    assert SECRET in str(with_it[2])


@pytest.mark.timing
def test_time_of_an_answer_tells_nothing_of_what_is_denied(stores: Stores) -> None:
    path = f"/eventmatch/{uuid_of('denied')}/deliveries"

    def seconds(delivery: UUID) -> float:
        begun = time.monotonic()
        stores.ask("GET", f"{path}/{delivery}", "denied")
        return time.monotonic() - begun

    secret, unknown = uuid_of(f"denied {SECRET}"), uuid_of("unknown")
    seconds(secret)  # Policy is asked once a minute
    ratio = median(seconds(secret) for _ in range(20)) / median(seconds(unknown) for _ in range(20))
    assert 0.1 < ratio < 10
