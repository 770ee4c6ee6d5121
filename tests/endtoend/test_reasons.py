"""Each reason why an event did or did not reach a subscription, made to happen and asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from pacifica.notifications.reasons import MEANINGS, Reason
from tests.endtoend.stage import (
    AWAY,
    DENIED,
    SETTINGS,
    TIMEOUT,
    Asked,
    Stage,
    delivered,
    delivery_in,
)
from tests.endtoend.test_flow import embedded
from tests.support import databases
from tests.support.servers import AnswerTriple, Received, RecordingServer, eventually

SLOW = '$..[?($..[?(@.x = "y")])]'


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


def is_collected(stage: Stage) -> Asked:
    uuid = stage.service.subscribe("mailto:somebody@trusted.example")
    path = f"/eventmatch/{uuid}/delivery"
    assert stage.service.call("PUT", path, b'{"digest": "daily"}')[0] == 200
    return stage.explanation(uuid, stage.receive(), Reason.COLLECTED)


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


def is_awaiting_fetch(stage: Stage) -> Asked:
    uuid = stage.service.subscribe("pull:")
    asked = stage.explanation(uuid, stage.receive(), Reason.AWAITING_FETCH)
    assert asked["steps"][-1]["verdict"] == "waiting"
    return asked


def is_fetched(stage: Stage) -> Asked:
    uuid = stage.service.subscribe("pull:")
    event = stage.receive()
    stage.explanation(uuid, event, Reason.AWAITING_FETCH)
    stage.pull(uuid)
    return stage.explanation(uuid, event, Reason.FETCHED)


def is_not_acknowledged(stage: Stage) -> Asked:
    uuid = stage.service.subscribe("pull:")
    event = stage.receive()
    stage.explanation(uuid, event, Reason.AWAITING_FETCH)
    results = []
    for _ in range(int(SETTINGS["PULL_ATTEMPTS"])):
        (item,) = stage.pull(uuid)["items"]
        results += stage.pull(uuid, "/release", locks=[item["lock"]])["items"]
    assert [each["result"] for each in results] == ["released", "released", "held"]
    return stage.explanation(uuid, event, Reason.NOT_ACKNOWLEDGED)


SCENARIOS: dict[Reason, Callable[[Stage], Asked]] = {
    Reason.DELIVERED: is_delivered,
    Reason.RETRYING: is_retrying,
    Reason.SENDING: is_sending,
    Reason.AWAITING_FETCH: is_awaiting_fetch,
    Reason.FETCHED: is_fetched,
    Reason.NOT_ACKNOWLEDGED: is_not_acknowledged,
    Reason.HELD: is_held,
    Reason.COLLECTED: is_collected,
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
