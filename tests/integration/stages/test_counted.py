"""What the stages count while an event takes its way."""

from collections.abc import Callable, Mapping

import pytest

from pacifica.notifications.metrics import ATTEMPTS, POLICY_QUESTIONS, RECEIVE_TO_TARGET
from pacifica.notifications.store import subscriptions
from pacifica.notifications.store.monitoring import snapshot
from tests.integration.stages.flow import Flow, answering

pytestmark = pytest.mark.parametrize("engine", ["sqlite", "postgresql"], indirect=True)


def counted(flow: Flow) -> Mapping[str, int]:
    return flow.app.tallies.take()


def of(counts: Mapping[str, int], durations: object, value: str = "") -> int:
    """Return how many durations were counted."""
    buckets, _sum = durations.buckets(counts, value)  # type: ignore[attr-defined]
    return buckets[-1][1]


def test_an_event_that_arrives_is_counted_on_its_way(flow: Flow) -> None:
    flow.subscribe()
    flow.subscribe("bob")
    flow.send()
    counts = counted(flow)
    assert counts["events_received:"] == 1
    assert counts["deliveries_finished:delivered"] == 2
    assert of(counts, POLICY_QUESTIONS, "allow") == 2
    assert of(counts, ATTEMPTS, "2xx") == 2
    assert of(counts, RECEIVE_TO_TARGET) == 2
    assert 0 < RECEIVE_TO_TARGET.buckets(counts, "")[1] < 60


def test_attempts_are_counted_by_status_when_targets_fail(flow: Flow) -> None:
    for status, counts_as in ((404, "4xx"), (302, "3xx"), (503, "5xx"), (700, "5xx")):
        flow.target.answer = answering(status)
        subscription = flow.subscribe()
        flow.send()
        counts = counted(flow)
        assert of(counts, ATTEMPTS, counts_as) == 1
        assert of(counts, RECEIVE_TO_TARGET) == 0
        subscriptions.delete("alice", subscription)
        counted(flow)


def test_attempts_are_counted_when_there_is_no_answer_or_the_address_is_refused(
    flow: Flow,
) -> None:
    flow.subscribe(target_url="http://127.0.0.1:9/")
    flow.subscribe(target_url="http://169.254.0.1/")
    flow.send()
    counts = counted(flow)
    assert of(counts, ATTEMPTS, "none") == 1
    assert of(counts, ATTEMPTS, "refused") == 1


def test_questions_are_counted_by_verdict(flow: Flow) -> None:
    flow.subscribe()
    flow.policy.answer = answering(412)
    flow.send()
    counts = counted(flow)
    assert of(counts, POLICY_QUESTIONS, "deny") == 1
    assert counts["deliveries_finished:denied"] == 1
    flow.policy.answer = answering(500)
    flow.send()
    assert of(counted(flow), POLICY_QUESTIONS, "unknown") == 1


def test_a_delivery_is_counted_as_failed_when_its_event_is_given_up(flow: Flow) -> None:
    flow.subscribe()
    flow.target.answer = answering(508)
    flow.send()
    assert counted(flow)["deliveries_finished:failed"] == 1


def test_a_denied_delivery_is_counted_when_policy_is_asked_again(flow: Flow) -> None:
    flow.subscribe()
    flow.policy.answer = answering(503)
    event = flow.send()
    counted(flow)
    flow.policy.answer = answering(412)
    flow.go_on(event)
    assert counted(flow)["deliveries_finished:denied"] == 1


def test_the_app_reports_what_it_counted_when_it_closes(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow()
    flow.subscribe()
    flow.app.reporter.start_worker("celery@here")
    flow.send()
    flow.settle()
    flow.app.reporter.close()
    found = snapshot()
    assert found.totals["deliveries_finished:delivered"] == 1
    assert found.workers.processes == 0
