"""Each reason why an event did or did not reach a subscription, made to happen and asked for."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from pacifica.notifications.reasons import MEANINGS, Reason
from tests.endtoend.test_flow import embedded
from tests.support import databases
from tests.support.deployments import Service
from tests.support.servers import AnswerTriple, Received, RecordingServer, eventually

OPERATOR = "olga"
DENIED = (412, {}, b'{"status": "no"}')
AWAY = (500, {}, b"Metadata is down")
ALLOWED = (200, {}, b'{"status": "success"}')
SLOW = '$..[?($..[?(@.x = "y")])]'
TIMEOUT = 30


@dataclass
class Stage:
    """The service with a Policy and a target that a test tells what to answer."""

    service: Service
    policy: RecordingServer
    target: RecordingServer
    #: What Policy answers about an event of this id, in place of "yes".
    verdicts: dict[str, AnswerTriple | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.policy.answer = self._verdict

    def answers(self, answer: Callable[[Received], AnswerTriple]) -> None:
        self.target.answer = answer

    def receive(self, id_: str | None = None, **more: Any) -> str:
        """Send an event, by default with an id of its own; returns the id."""
        event = {
            "cloudEventsVersion": "0.1",
            "eventType": "org.pacifica.metadata.ingest",
            "source": "http://metadata.test/transactions",
            "eventID": id_ or uuid4().hex,
            "data": [{"destinationTable": "Transactions._id", "value": 54}],
            **more,
        }
        self.service.receive(json.dumps(event).encode())
        return str(event["eventID"])

    def change(self, subscription: str, **body: Any) -> None:
        status, answer = self.service.call(
            "PUT", f"/eventmatch/{subscription}", json.dumps(body).encode()
        )
        assert status == 200, answer

    def ask(self, subscription: str, event: str, user: str = "alice") -> tuple[int, Any]:
        path = f"/eventmatch/{subscription}/explain/{quote(event, safe='')}"
        status, body = self.service.call("GET", path, user=user)
        return status, json.loads(body)

    def explanation(self, subscription: str, event: str, reason: Reason) -> dict[str, Any]:
        """Give the explanation once it has that reason."""
        last: list[Any] = []

        def has_reason() -> bool:
            last[:] = self.ask(subscription, event)
            return last[0] == 200 and last[1]["reason"] == reason

        try:
            eventually(has_reason, TIMEOUT)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from error
        return last[1]

    def resend(self, subscription: str, delivery: str) -> None:
        path = f"/eventmatch/{subscription}/deliveries/{delivery}/resend"
        assert self.service.call("POST", path)[0] == 202

    def why(self, event: str, subscription: str) -> dict[str, Any]:
        """Ask by the command line, which may ask about what was deleted."""
        return json.loads(self.service.command("why", event, subscription, "--json"))

    def is_dispatched(self) -> bool:
        return not databases.execute(
            self.service.database, "SELECT 1 FROM eventlog WHERE due IS NOT NULL"
        )

    def _verdict(self, asked: Received) -> AnswerTriple:
        if not asked.path.startswith("/events/"):  # whether it knows a user
            return 200, {}, b"[{}]"
        event = json.loads(asked.body)
        if event["source"] == "/notifications/nothing":  # the service asks whether Policy answers
            return DENIED
        told = self.verdicts.get(event.get("eventID", ""), ALLOWED)
        if isinstance(told, str):  # it hangs
            self.policy.over.wait(5)
            return AWAY
        return told


SETTINGS = {
    "RECEIVE_DEDUPLICATE": "3600",
    "MATCHING_BUDGET": "20000",
    "POLICY_TIMEOUT": "3",
    "CELERY_SWEEP_INTERVAL": "0.3",
    "WEB_OPERATORS": OPERATOR,
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with (
        RecordingServer() as policy,
        RecordingServer() as target,
        embedded(tmp_path_factory.mktemp("reasons"), POLICY_URL=policy.url, **SETTINGS) as service,
        service.web_server(),
        service.worker(),
    ):
        yield Stage(service, policy, target)


@pytest.fixture
def stage(running: Stage) -> Stage:
    """Give the service, which has no subscriptions and whose target takes everything."""
    for user in ("alice", "bob"):
        for each in json.loads(running.service.call("GET", "/eventmatch", user=user)[1]):
            running.service.call("DELETE", f"/eventmatch/{each['uuid']}", user=user)
    running.answers(lambda _: (200, {}, b"taken"))
    return running


Asked = dict[str, Any]


def delivered(stage: Stage, **subscription: Any) -> tuple[str, str, Asked]:
    """Have an event delivered; gives the subscription, the event, and its explanation."""
    uuid = stage.service.subscribe(stage.target.url, **subscription)
    event = stage.receive()
    return uuid, event, stage.explanation(uuid, event, Reason.DELIVERED)


def delivery_in(asked: Asked) -> str:
    return str(asked["steps"][-1]["delivery"])


def is_delivered(stage: Stage) -> Asked:
    asked = delivered(stage)[2]
    assert asked["outcome"] == "delivered"
    assert {each["verdict"] for each in asked["steps"]} == {"passed"}
    assert all(each["time"] for each in asked["steps"])
    return asked


def is_retrying(stage: Stage) -> Asked:
    stage.answers(lambda _: (429, {"Retry-After": "60"}, b""))
    uuid = stage.service.subscribe(stage.target.url)
    asked = stage.explanation(uuid, stage.receive(), Reason.RETRYING)
    assert (asked["steps"][4]["status"], asked["steps"][4]["attempts"]) == (429, 1)
    return asked


def is_sending(stage: Stage) -> Asked:
    def hangs(_received: Received) -> AnswerTriple:
        stage.target.over.wait(8)
        return 200, {}, b""

    stage.answers(hangs)
    uuid = stage.service.subscribe(stage.target.url)
    return stage.explanation(uuid, stage.receive(), Reason.SENDING)


def is_held(stage: Stage) -> Asked:
    stage.answers(lambda _: (404, {}, b"gone"))
    uuid = stage.service.subscribe(stage.target.url)
    asked = stage.explanation(uuid, stage.receive(), Reason.HELD)
    assert "status 404" in asked["hint"]
    return asked


def is_loop(stage: Stage) -> Asked:
    stage.answers(lambda _: (508, {}, b"{}"))
    uuid = stage.service.subscribe(stage.target.url)
    return stage.explanation(uuid, stage.receive(), Reason.LOOP)


def is_undeliverable(stage: Stage) -> Asked:
    extensions = {"Not allowed": 1}
    uuid = stage.service.subscribe(stage.target.url, extensions=extensions)
    event = {"specversion": "1.0", "id": uuid4().hex, "source": "s", "type": "t", "data": [1]}
    stage.service.receive(json.dumps(event).encode())
    return stage.explanation(uuid, event["id"], Reason.UNDELIVERABLE)


def is_duplicate(stage: Stage) -> Asked:
    uuid, event, _ = delivered(stage)
    stage.receive(event)
    asked = stage.explanation(uuid, event, Reason.DELIVERED)
    assert (asked["count"], asked["copies"]["count"]) == (1, 1)
    return asked["copies"]


def is_no_match(stage: Stage) -> Asked:
    jsonpath = '$.data[*][?(@.value = "54")]'
    uuid = stage.service.subscribe(stage.target.url, jsonpath=jsonpath)
    event = stage.receive()
    asked = stage.explanation(uuid, event, Reason.NO_MATCH)
    stage.change(uuid, jsonpath="$.data")
    again = stage.explanation(uuid, event, Reason.NO_MATCH)
    assert again == asked
    matched = asked["steps"][2]
    assert (matched["jsonpath"], matched["trace"]["matches"]) == (jsonpath, False)
    assert "the value is the number 54" in asked["hint"]
    return asked


def is_younger(stage: Stage) -> Asked:
    event = stage.receive()
    eventually(stage.is_dispatched, TIMEOUT)
    uuid = stage.service.subscribe(stage.target.url)
    return stage.explanation(uuid, event, Reason.SUBSCRIPTION_YOUNGER)


def is_disabled_by_owner(stage: Stage) -> Asked:
    uuid = stage.service.subscribe(stage.target.url)
    stage.change(uuid, disabled="2026-01-01T00:00:00")
    event = stage.receive()
    eventually(stage.is_dispatched, TIMEOUT)
    stage.change(uuid, disabled=None)
    return stage.explanation(uuid, event, Reason.DISABLED_BY_OWNER)


def is_expression_error(stage: Stage) -> Asked:
    uuid = stage.service.subscribe(stage.target.url, jsonpath="$.data[::0]")
    event = stage.receive()
    asked = stage.explanation(uuid, event, Reason.EXPRESSION_ERROR)
    assert "the step of a slice is 0" in asked["hint"]
    assert asked["outcome"] == "waiting"
    stage.change(uuid, jsonpath="$.data", disabled=None)
    corrected = stage.explanation(uuid, event, Reason.DELIVERED)
    assert corrected["steps"][2]["trace"]["matches"] is True
    return asked


def is_over_budget(stage: Stage) -> Asked:
    uuid = stage.service.subscribe(stage.target.url, jsonpath=SLOW)
    event = stage.receive(data=[{"x": 1}] * 11_000)
    asked = stage.explanation(uuid, event, Reason.OVER_BUDGET)
    eventually(lambda: stage.ask(uuid, event)[1]["outcome"] == "not delivered", TIMEOUT)
    assert stage.ask(uuid, event)[1]["reason"] == Reason.OVER_BUDGET
    return asked


def is_unrecorded(stage: Stage) -> Asked:
    uuid = stage.service.subscribe(stage.target.url, jsonpath="$.nothing")
    event = stage.receive()
    stage.explanation(uuid, event, Reason.NO_MATCH)
    # As events are that an older version has matched.
    databases.execute(stage.service.database, "UPDATE eventlog SET revision = NULL")
    return stage.explanation(uuid, event, Reason.UNRECORDED)


def is_deleted(stage: Stage) -> Asked:
    uuid = stage.service.subscribe(stage.target.url)
    assert stage.service.call("DELETE", f"/eventmatch/{uuid}")[0] == 200
    event = stage.receive()
    eventually(stage.is_dispatched, TIMEOUT)
    assert stage.ask(uuid, event)[0] == 403
    return stage.why(event, uuid)


def is_dropped(stage: Stage) -> Asked:
    stage.answers(lambda _: (429, {"Retry-After": "60"}, b""))
    uuid = stage.service.subscribe(stage.target.url)
    event = stage.receive()
    stage.explanation(uuid, event, Reason.RETRYING)
    assert stage.service.call("DELETE", f"/eventmatch/{uuid}")[0] == 200
    assert stage.ask(uuid, event)[0] == 403
    return stage.why(event, uuid)


def is_awaiting_policy(stage: Stage) -> Asked:
    uuid, event, asked = delivered(stage)
    stage.verdicts[event] = "hangs"
    stage.resend(uuid, delivery_in(asked))
    return stage.explanation(uuid, event, Reason.AWAITING_POLICY)


def is_policy_away(stage: Stage) -> Asked:
    uuid, event, asked = delivered(stage)
    stage.verdicts[event] = AWAY
    stage.resend(uuid, delivery_in(asked))
    return stage.explanation(uuid, event, Reason.POLICY_AWAY)


def is_denied(stage: Stage) -> Asked:
    uuid = stage.service.subscribe(stage.target.url)
    event = uuid4().hex
    stage.verdicts[event] = DENIED
    stage.receive(event)
    eventually(stage.is_dispatched, TIMEOUT)
    unknown = stage.ask(uuid, "unknown")
    del stage.verdicts[event]
    assert unknown[0] == 403
    asked = stage.explanation(uuid, event, Reason.POLICY_DENIED)
    assert asked["steps"][3]["status"] == 412
    return asked


SCENARIOS: dict[Reason, Callable[[Stage], Asked]] = {
    Reason.DELIVERED: is_delivered,
    Reason.RETRYING: is_retrying,
    Reason.SENDING: is_sending,
    Reason.HELD: is_held,
    Reason.LOOP: is_loop,
    Reason.UNDELIVERABLE: is_undeliverable,
    Reason.DUPLICATE: is_duplicate,
    Reason.NO_MATCH: is_no_match,
    Reason.SUBSCRIPTION_YOUNGER: is_younger,
    Reason.DISABLED_BY_OWNER: is_disabled_by_owner,
    Reason.EXPRESSION_ERROR: is_expression_error,
    Reason.OVER_BUDGET: is_over_budget,
    Reason.UNRECORDED: is_unrecorded,
    Reason.SUBSCRIPTION_DELETED: is_deleted,
    Reason.DROPPED: is_dropped,
    Reason.AWAITING_POLICY: is_awaiting_policy,
    Reason.POLICY_AWAY: is_policy_away,
    Reason.POLICY_DENIED: is_denied,
}
#: Those that need workers of their own.
ALONE = {Reason.AWAITING_DISPATCH, Reason.EXPIRED, Reason.UNSETTLED}


@pytest.mark.parametrize("reason", SCENARIOS)
def test_reason_is_told_when_it_happens(stage: Stage, reason: Reason) -> None:
    asked = SCENARIOS[reason](stage)
    assert asked["reason"] == reason
    if "meaning" in asked:
        assert asked["meaning"] == MEANINGS[reason].meaning
        assert asked["hint"].startswith(MEANINGS[reason].action)


def test_event_awaits_dispatch_without_a_worker_and_expires_when_it_was_held_too_long(
    tmp_path: Path,
) -> None:
    with (
        RecordingServer() as policy,
        RecordingServer(lambda _: (404, {}, b"")) as target,
        embedded(tmp_path, POLICY_URL=policy.url, **SETTINGS) as service,
        service.web_server(),
    ):
        stage = Stage(service, policy, target)
        uuid = service.subscribe(target.url)
        event = stage.receive()
        asked = stage.explanation(uuid, event, Reason.AWAITING_DISPATCH)
        assert [each["verdict"] for each in asked["steps"]] == [
            *("passed", "passed", "waiting", "not reached", "not reached")
        ]
        with service.told(CELERY_SWEEP_INTERVAL="3600").worker():
            stage.explanation(uuid, event, Reason.HELD)
        with service.told(HOLDING_MAX_AGE="1").worker():
            asked = stage.explanation(uuid, event, Reason.EXPIRED)
        assert asked["outcome"] == "not delivered"


def test_event_is_unsettled_until_metadata_shows_what_it_tells_of(tmp_path: Path) -> None:
    with (
        RecordingServer() as policy,
        RecordingServer() as target,
        RecordingServer(lambda _: (404, {}, b"")) as metadata,
        embedded(
            tmp_path, POLICY_URL=policy.url, SETTLE_METADATA_URL=metadata.url, **SETTINGS
        ) as service,
        service.web_server(),
        service.worker(),
    ):
        stage = Stage(service, policy, target)
        uuid = service.subscribe(target.url)
        event = stage.receive()
        asked = stage.explanation(uuid, event, Reason.UNSETTLED)
        assert [each["verdict"] for each in asked["steps"]] == [
            *("passed", "waiting", "not reached", "not reached", "not reached")
        ]
        metadata.answer = lambda _: (200, {}, b"{}")
        asked = stage.explanation(uuid, event, Reason.DELIVERED)
        assert asked["steps"][1]["time"] > asked["steps"][0]["time"]


def test_every_reason_of_the_closed_list_is_made_to_happen() -> None:
    assert SCENARIOS.keys() | ALONE == set(Reason) == set(MEANINGS)


def test_denied_and_unknown_events_are_refused_by_the_same_bytes(stage: Stage) -> None:
    uuid = stage.service.subscribe(stage.target.url)
    event = uuid4().hex
    stage.verdicts[event] = DENIED
    ours = stage.service.receive(
        json.dumps(
            {"eventID": event, "source": "s", "eventType": "t", "cloudEventsVersion": "0.1"}
        ).encode()
    )
    eventually(stage.is_dispatched, TIMEOUT)
    paths = [
        *(f"/eventmatch/{uuid}/explain/{name}" for name in (event, ours, "unknown", str(uuid4()))),
        *(f"/events/{name}" for name in (event, ours, "unknown", "77")),
        f"/eventmatch/{uuid4()}/explain/{event}",
    ]
    answers = {stage.service.call("GET", path) for path in paths}
    assert [status for status, _ in answers] == [403]
    listed = json.loads(stage.service.call("GET", f"/events?q={event}")[1])
    assert listed == {"items": [], "next": None}


def test_unknown_denied_and_allowed_events_are_alike_while_policy_is_away(stage: Stage) -> None:
    uuid, event, _ = delivered(stage)
    denied = uuid4().hex
    stage.verdicts[denied] = DENIED
    stage.receive(denied)
    eventually(stage.is_dispatched, TIMEOUT)
    assert stage.ask(uuid, denied)[0] == stage.ask(uuid, "unknown")[0] == 403
    before = stage.policy.answer
    stage.policy.answer = lambda _: AWAY
    try:
        paths = [
            *(f"/eventmatch/{uuid}/explain/{name}" for name in (event, denied, "unknown", "new")),
            *(f"/events/{name}" for name in (event, denied, "unknown", "new")),
            *(f"/events?q={name}" for name in (event, denied, "unknown", "new")),
            *("/events", "/events?type=none"),
        ]
        answers = {stage.service.call("GET", path) for path in paths}
    finally:
        stage.policy.answer = before
    assert [status for status, _ in answers] == [503]


def test_event_that_policy_cannot_read_is_not_told_from_an_unknown_one(stage: Stage) -> None:
    uuid = stage.service.subscribe(stage.target.url)
    event = uuid4().hex
    stage.verdicts[event] = AWAY
    stage.receive(event)
    eventually(stage.is_dispatched, TIMEOUT)
    assert stage.ask(uuid, event) == stage.ask(uuid, "unknown")
    assert stage.service.call("GET", "/events")[0] == 200


def test_operator_sees_the_reason_without_content_and_is_in_the_audit_log(stage: Stage) -> None:
    jsonpath = '$.data[*][?(@.value = "54")]'
    uuid = stage.service.subscribe(stage.target.url, jsonpath=jsonpath)
    event = uuid4().hex
    stage.receive(event)
    stage.explanation(uuid, event, Reason.NO_MATCH)
    stage.verdicts[event] = DENIED
    status, asked = stage.ask(uuid, event, user=OPERATOR)
    assert (status, asked["reason"], asked["withheld"]) == (200, "no_match", True)
    assert asked["steps"][2]["trace"] is None
    assert (asked["event"]["id"], asked["hint"]) == ("", MEANINGS[Reason.NO_MATCH].action)
    assert stage.ask(uuid, event, user="mallory")[0] == 403
    (entry,) = databases.execute(
        stage.service.database,
        f"SELECT actor, action, owner FROM notificationaudit WHERE actor = '{OPERATOR}'",  # noqa: S608
    )
    assert tuple(entry) == (OPERATOR, "explanation read", "alice")


def test_newest_of_several_events_is_explained_and_counted(stage: Stage) -> None:
    uuid = stage.service.subscribe(stage.target.url)
    events = [stage.receive(source=f"http://metadata.test/{n}", id_="same/id é") for n in range(3)]
    eventually(stage.is_dispatched, TIMEOUT)
    asked = stage.explanation(uuid, events[0], Reason.DELIVERED)
    assert (asked["count"], asked["event"]["source"]) == (3, "http://metadata.test/2")
    assert asked["event"]["transaction"] == 54
    by_number = stage.explanation(uuid, "54", Reason.DELIVERED)
    assert by_number["event"]["uuid"] == asked["event"]["uuid"]
    assert by_number["count"] >= 3
    ours = stage.explanation(uuid, asked["event"]["uuid"], Reason.DELIVERED)
    assert (ours["count"], ours["event"]) == (1, asked["event"])


def test_events_are_listed_and_read_with_the_subscriptions_that_matched(stage: Stage) -> None:
    uuid, event, asked = delivered(stage)
    other = stage.service.subscribe(stage.target.url, name="other", jsonpath="$.nothing")
    stage.service.subscribe(stage.target.url, user="bob")
    source = f"s-{uuid4()}"
    ids = [stage.receive(source=source) for _ in range(5)]
    stage.verdicts[ids[2]] = DENIED
    listed: list[str] = []
    path = f"/events?source={source}&limit=3"
    while path:
        page = json.loads(stage.service.call("GET", path)[1])
        listed += [each["id"] for each in page["items"]]
        cursor = page["next"]
        path = f"/events?source={source}&limit=3&cursor={cursor}" if cursor else ""
    assert listed == [ids[4], ids[3], ids[1], ids[0]]
    status, body = stage.service.call("GET", f"/events/{event}")
    found = json.loads(body)
    assert (status, found["event"]["id"], found["content"]["eventID"]) == (200, event, event)
    (matched,) = found["matched"]
    assert (matched["subscription"], matched["reason"]) == (uuid, "delivered")
    assert matched["delivery"] == delivery_in(asked)
    assert [each["subscription"] for each in found["others"]] == [other]
    why = json.loads(stage.service.call("GET", found["others"][0]["explain"])[1])
    assert UUID(why["event"]["uuid"]) == UUID(found["event"]["uuid"])


def test_commands_tell_why_and_send_again_and_show_attempts(stage: Stage) -> None:
    uuid, event, asked = delivered(stage)
    assert "delivered: delivered" in stage.service.command("why", event, uuid)
    ours, delivery = asked["event"]["uuid"], delivery_in(asked)
    for arguments in ([delivery], [ours, uuid]):
        (again,) = json.loads(stage.service.command("resend", *arguments, "--json"))
        assert (again["delivery"], again["event"]) == (delivery, ours)
        count = 2 if arguments == [delivery] else 3
        eventually(
            lambda count=count: stage.ask(uuid, event)[1]["steps"][4]["attempts"] == count, TIMEOUT
        )
    ((found,),) = [
        each["matches"] for each in json.loads(stage.service.command("eventget", ours, "--json"))
    ]
    assert [each["trigger"] for each in found["attempts"]] == ["automatic", "resend", "resend"]
    assert stage.service.command("eventget", ours).count("attempt ") == 3
    rows = databases.execute(
        stage.service.database, "SELECT actor, action, owner FROM notificationaudit"
    )
    done = [tuple(row)[1:] for row in rows if str(row[0]).startswith("command line/")]
    assert {("explanation read", "alice"), ("delivery resent", "alice")} <= set(done)
