"""Who may ask why an event did not arrive, and look for events; also on the command line."""

import json
from uuid import UUID, uuid4

from pacifica.notifications.reasons import MEANINGS, Reason
from tests.endtoend.stage import (
    AWAY,
    DENIED,
    OPERATOR,
    TIMEOUT,
    Stage,
    delivered,
    delivery_in,
)
from tests.support import databases
from tests.support.servers import eventually


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
