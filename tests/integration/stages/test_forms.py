"""Forms: in which version of CloudEvents and which mode targets get events, and who signs them."""

import base64
import json
from typing import Any
from uuid import UUID

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

from pacifica.notifications.store import subscriptions
from tests.integration.stages.flow import EVENT, Flow, answering, match_of, row
from tests.support.servers import AnswerTriple, Received

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)

EVENT_1_0 = {
    "specversion": "1.0",
    "type": "org.pacifica.metadata.ingest",
    "source": "http://metadata.pacifica.org/transactions?_id=1234",
    "id": "metadata ingest é",
    "color": "red",
    "data": [{"destinationTable": "Transactions._id", "value": 1234}],
}
SECRETS = [f"whsec_{base64.b64encode(bytes([each]) * 24).decode()}" for each in (1, 2)]


def subscribe(flow: Flow, specversion: str = "", mode: str = "structured", **body: Any) -> UUID:
    """Subscribe to events in a form."""
    subscription = flow.subscribe(**body)
    changes = {"specversion": specversion, "mode": mode}
    assert subscriptions.change_delivery_format("alice", subscription, changes)
    return subscription


def sent(flow: Flow, document: Any = EVENT_1_0) -> Received:
    """Return what the target got of an event."""
    flow.receive(document)
    flow.run()
    (received,) = flow.target.requests
    return received


def test_target_gets_an_event_of_1_0_in_its_own_version(flow: Flow) -> None:
    flow.subscribe(extensions={"color": "green", "n": 5})
    received = sent(flow)
    assert received.headers["Content-Type"] == "application/cloudevents+json"
    assert json.loads(received.body) == {**EVENT_1_0, "color": "green", "n": 5}


@pytest.mark.parametrize("specversion", ["0.3", "1.0"])
@pytest.mark.parametrize("mode", ["structured", "binary"])
@pytest.mark.parametrize("document", [EVENT, EVENT_1_0], ids=["0.1", "1.0"])
def test_target_gets_what_the_sdk_reads_when_it_wants_a_later_version(
    flow: Flow, specversion: str, mode: str, document: dict[str, Any]
) -> None:
    subscribe(flow, specversion, mode)
    received = sent(flow, document)
    read = from_http_event(HTTPMessage(dict(received.headers), received.body))
    assert read.get_specversion() == specversion
    assert read.get_id() == document.get("eventID", document.get("id"))
    assert read.get_extension("color") == "red"
    assert read.get_data() == document["data"]
    assert ("ce-id" in received.headers) == (mode == "binary")


def test_target_gets_an_event_of_1_0_as_0_1_when_it_wants_that(flow: Flow) -> None:
    subscribe(flow, "0.1")
    received = sent(flow)
    assert received.headers["Content-Type"] == "application/json"
    document = json.loads(received.body)
    assert (document["cloudEventsVersion"], document["eventID"]) == ("0.1", EVENT_1_0["id"])
    assert (document["extensions"], document["data"]) == ({"color": "red"}, EVENT_1_0["data"])


def test_target_gets_an_event_of_0_1_in_binary_mode_when_it_wants_that(flow: Flow) -> None:
    subscribe(flow, mode="binary", extensions={"own": [1]})
    received = sent(flow, EVENT)
    assert received.headers["CE-CloudEventsVersion"] == '"0.1"'
    assert received.headers["CE-X-own"] == "[1]"
    assert json.loads(received.body) == EVENT["data"]


def test_policy_gets_the_0_1_form_whatever_the_target_wants(flow: Flow) -> None:
    subscribe(flow, "1.0", "binary")
    sent(flow)
    (asked,) = flow.policy.requests
    document = json.loads(asked.body)
    assert asked.headers["Content-Type"] == "application/json"
    assert (document["eventType"], document["data"]) == (EVENT_1_0["type"], EVENT_1_0["data"])


def test_delivery_alone_is_given_up_when_the_events_version_has_no_such_extension(
    flow: Flow,
) -> None:
    subscription = flow.subscribe(extensions={"Color": "red"})
    before = row(subscription)
    event = flow.receive(EVENT_1_0)
    flow.run()
    assert flow.target.requests == []
    match = match_of(event)
    assert (match.state, match.target_body) == (
        "failed",
        "cannot be delivered: its extension Color must be lower-case letters and digits "
        "(CloudEvents 1.0)",
    )
    after = row(subscription)
    assert (after.disabled, after.error, after.revision) == (None, None, before.revision)
    assert json.loads(sent(flow, EVENT).body)["extensions"]["Color"] == "red"


def test_delivery_under_way_has_the_new_format(flow: Flow) -> None:
    subscription = flow.subscribe()

    def changed_and_allowed(_received: Received) -> AnswerTriple:
        subscriptions.change_delivery_format("alice", subscription, {"specversion": "1.0"})
        return 200, {}, b""

    flow.policy.answer = changed_and_allowed
    received = sent(flow, EVENT)
    assert json.loads(received.body)["specversion"] == "1.0"


def test_next_delivery_has_the_new_format(flow: Flow) -> None:
    subscription = flow.subscribe()
    flow.send()
    subscriptions.change_delivery_format("alice", subscription, {"mode": "binary"})
    flow.send()
    before, after = flow.target.requests
    assert "CE-EventID" not in before.headers
    assert "CE-EventID" in after.headers


def test_failure_does_not_disable_when_the_owner_changed_the_format_meanwhile(flow: Flow) -> None:
    subscription = flow.subscribe()

    def changed_and_refused(_received: Received) -> AnswerTriple:
        subscriptions.change_delivery_format("alice", subscription, {"specversion": "1.0"})
        return 415, {}, b""

    flow.target.answer = changed_and_refused
    event = flow.send()
    assert row(subscription).disabled is None
    flow.target.answer = answering(200)
    flow.go_on(event)
    assert match_of(event).state == "delivered"


@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_target_can_prove_who_sent_an_event_by_either_secret(flow: Flow, mode: str) -> None:
    auth = {"type": "signature", "signature": {"secrets": SECRETS}}
    subscribe(flow, mode=mode, auth=auth)
    received = sent(flow)
    for secret in SECRETS:
        Webhook(secret).verify(received.body, dict(received.headers))
    assert "Authorization" not in received.headers


def test_target_knows_a_delivery_again_when_it_is_tried_again(flow: Flow) -> None:
    flow.target.answer = answering(503)
    flow.subscribe(auth={"type": "signature", "signature": {"secrets": SECRETS}})
    event = flow.send()
    flow.go_on(event)
    first, second = flow.target.requests
    delivery = str(match_of(event).uuid)
    for received in (first, second):
        assert received.headers["Pacifica-Notifications-Delivery"] == delivery
        assert received.headers["webhook-id"] == delivery
    attempts = [each.headers["Pacifica-Notifications-Attempt"] for each in (first, second)]
    assert attempts == ["1", "2"]


def test_targets_of_two_subscriptions_know_deliveries_of_one_event_apart(flow: Flow) -> None:
    flow.subscribe()
    flow.subscribe()
    flow.send()
    names = {each.headers["Pacifica-Notifications-Delivery"] for each in flow.target.requests}
    assert len(names) == 2
