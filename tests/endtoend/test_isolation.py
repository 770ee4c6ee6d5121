"""What one target, subscription or event does hurts nobody else, on programs that really run."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from pacifica.notifications.events import HOPS_HEADER
from tests.support import servers
from tests.support.deployments import EVENT, USER, deployments
from tests.support.isolation import (
    GIVEN_UP,
    Healthy,
    Isolation,
    healthy_in,
    isolation_of,
    isolation_on,
)
from tests.support.servers import AnswerTriple, RawServer, Received, RecordingServer, eventually

EMBEDDED = deployments("sqlite-filesystem")
MAX_HOPS = 3
isolation = isolation_of(EMBEDDED, RECEIVE_MAX_HOPS=str(MAX_HOPS))


def nested(depth: int, **event: Any) -> bytes:
    """Return a JSON object whose `data` is nested so deep."""
    inner = json.dumps({**event, "data": "here"})
    return inner.replace('"here"', "[" * depth + "]" * depth).encode()


# Targets


@pytest.mark.parametrize(
    "behaviour", [servers.hanging, servers.dribbling_headers, servers.dribbling_body]
)
def test_healthy_target_has_its_events_soon_when_another_never_ends_its_answer(
    isolation: Isolation,
    healthy: Healthy,
    behaviour: Callable[[socket.socket, threading.Event], None],
) -> None:
    with RawServer(behaviour) as server:
        bad = isolation.subscribe(server.url)
        for _ in range(3):
            healthy.gets()
        isolation.wait_for_error(bad, f"no answer within {GIVEN_UP} s")


@contextmanager
def silent_targets(count: int) -> Iterator[list[str]]:
    """Give the URLs of servers to which one can connect, and that do nothing ever after."""
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
            for _ in range(count)
        ]
        yield [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]


def test_healthy_targets_have_their_events_soon_when_a_hundred_others_hang(
    isolation: Isolation, healthy: Healthy
) -> None:
    with silent_targets(100) as urls, Healthy(isolation) as newcomer:
        bad = [isolation.subscribe(url) for url in urls]
        newcomer.subscribe()  # after all others, so that its deliveries are the last
        for _ in range(3):
            newcomer.gets()
        healthy.wait_for(3, timeout=0.5)
        isolation.wait_for_error(bad[0], "no answer within")
        isolation.wait_for_error(bad[-1], "no answer within")


def test_healthy_target_has_its_events_soon_when_a_hundred_subscriptions_share_a_hanging_host(
    isolation: Isolation, healthy: Healthy
) -> None:
    with silent_targets(1) as (url,), Healthy(isolation) as newcomer:
        for number in range(100):
            isolation.subscribe(f"{url}/{number}")
        newcomer.subscribe()
        for _ in range(3):
            newcomer.gets()
        healthy.wait_for(3, timeout=0.5)
        errors = "SELECT error FROM eventmatch WHERE error LIKE '%no answer within%'"
        eventually(
            lambda: sum(url in error for (error,) in isolation.rows(errors)) == 100,
            timeout=GIVEN_UP + 5,
        )


def test_healthy_target_has_its_events_soon_when_others_have_more_under_way_than_may_be(
    tmp_path: Path,
) -> None:
    (embedded,) = [param.values[0] for param in EMBEDDED]
    few = {"DELIVERY_CONNECTIONS": "64", "DELIVERY_UNFINISHED": "300", "DELIVERY_TIMEOUT": "10"}
    with (
        isolation_on(embedded, tmp_path, **few) as isolation,
        silent_targets(40) as urls,
        healthy_in(isolation) as healthy,
    ):
        for url in urls:
            isolation.subscribe(url)
        for _ in range(15):
            healthy.gets()


@pytest.mark.timing
def test_healthy_target_has_its_events_soon_when_one_host_hangs_with_many_bytes_under_way(
    tmp_path: Path,
) -> None:
    (embedded,) = [param.values[0] for param in EMBEDDED]
    # Each event to all of the hanging subscriptions is more than may be under way.
    few = {"DELIVERY_UNFINISHED_BYTES": str(2 * 2**20), "DELIVERY_TIMEOUT": "10"}
    large = json.dumps({**json.loads(EVENT), "padding": "x" * 20_000}).encode()
    with (
        isolation_on(embedded, tmp_path, **few) as isolation,
        silent_targets(1) as (url,),
        healthy_in(isolation) as healthy,
    ):
        for number in range(200):
            isolation.subscribe(f"{url}/{number}")
        took = []
        for _ in range(20):
            began = time.monotonic()
            healthy.gets(large, timeout=20)
            took.append(time.monotonic() - began)
        assert sorted(took)[-2] <= 0.3, sorted(took)


class FloodingBody:
    """Behaviour of a server that answers with a body of 500 MB; `sent` is what was taken of it."""

    def __init__(self) -> None:
        self.sent = 0
        self.cut = threading.Event()

    def __call__(self, connection: socket.socket, over: threading.Event) -> None:
        servers.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500000000\r\n\r\n")
        block = b"x" * 100_000
        try:
            while self.sent < 500_000_000 and not over.is_set():
                connection.sendall(block)
                self.sent += len(block)
        finally:
            self.cut.set()


def test_answer_is_cut_off_and_counts_when_a_target_sends_500_mb(
    isolation: Isolation, healthy: Healthy
) -> None:
    flood = FloodingBody()
    with RawServer(flood) as server:
        bad = isolation.subscribe(server.url)
        healthy.gets()
        assert flood.cut.wait(5)
        flood.cut.clear()
        healthy.gets()
        assert flood.cut.wait(5)
    assert flood.sent < 50_000_000
    assert isolation.error(bad) == ""
    longest = "SELECT max(length(target_resp_body)) FROM eventlogmatch"
    eventually(lambda: isolation.rows(longest) == [(16384,)])


def test_redirect_is_not_followed_when_a_target_redirects_to_itself(
    isolation: Isolation, healthy: Healthy
) -> None:
    with RecordingServer() as target:
        target.answer = lambda _: (302, {"Location": f"{target.url}/round"}, b"")
        bad = isolation.subscribe(f"{target.url}/round")
        healthy.gets()
        isolation.wait_for_error(bad, "302")
        healthy.gets()
        assert len(target.requests) == 1


def test_chain_ends_when_a_target_is_the_receive_of_the_service(
    isolation: Isolation, healthy: Healthy
) -> None:
    bad = isolation.subscribe(f"http://127.0.0.1:{isolation.service.port}/receive")
    before = isolation.rows("SELECT count(*) FROM eventlog")[0][0]
    healthy.gets()
    isolation.wait_for_error(bad, "508")
    unfinished = (
        "SELECT (SELECT count(*) FROM eventlog WHERE due IS NOT NULL)"
        " + (SELECT count(*) FROM eventlogmatch WHERE state IN ('matched', 'allowed'))"
    )
    eventually(lambda: isolation.rows(unfinished) == [(0,)])
    events = isolation.rows("SELECT count(*) FROM eventlog")[0][0] - before
    assert events == 1 + MAX_HOPS
    assert len(healthy.requests) == events


def test_subscription_stays_enabled_when_a_sender_says_that_its_events_went_round(
    isolation: Isolation, healthy: Healthy
) -> None:
    def chained_service(request: Received) -> AnswerTriple:
        # It does not know the delivery as its own.
        if int(request.headers[HOPS_HEADER]) > MAX_HOPS:
            return 508, {}, b'{"own_delivery": false}'
        return 200, {}, b""

    with RecordingServer(chained_service) as target:
        chained = isolation.subscribe(target.url)
        headers = {"Content-Type": "application/json", HOPS_HEADER: str(MAX_HOPS)}
        url = f"http://127.0.0.1:{isolation.service.port}/receive"
        for _ in range(5):
            assert requests.post(url, EVENT, headers=headers, timeout=10).status_code == 200
        given_up = "SELECT count(*) FROM eventlogmatch WHERE state = 'failed'"
        eventually(lambda: isolation.rows(given_up) == [(5,)])
        healthy.gets()
        target.wait_for(6)
        assert isolation.error(chained) == ""


# Events


def test_receive_refuses_an_event_that_is_nested_500_deep(
    isolation: Isolation, healthy: Healthy
) -> None:
    assert isolation.service.call("POST", "/receive", nested(500))[0] == 400
    assert isolation.service.call("POST", "/receive", nested(100_000))[0] == 400
    healthy.gets()


ODD = [
    {"data": 1, "extensions": [1], "eventID": {"a": 1}, "eventType": 7, "eventTime": []},
    {"data": None, "extensions": "text", "eventID": None},
    {"data": {}, "extensions": None, "uuid": "\ud800", "id": 10**400},
    {"data": [[], {"": {}}], "extensions": {"": {"": None}}, "cloudEventsVersion\0": "0.1"},
]


@pytest.mark.parametrize("event", ODD, ids=range(len(ODD)))
def test_event_arrives_when_its_attributes_have_odd_types(
    isolation: Isolation, healthy: Healthy, event: dict[str, Any]
) -> None:
    with Healthy(isolation) as merging:
        merging.subscribe(extensions={"of": "the subscription"})
        received = merging.gets(json.dumps(event).encode())
        assert json.loads(received.body)["data"] == event["data"]
        assert json.loads(received.body)["extensions"]["of"] == "the subscription"
        assert json.loads(healthy.wait_for(1)[0].body) == event
        healthy.gets()


@pytest.mark.parametrize("name", ["extensions", "eventID", "eventType", "source"])
def test_receive_refuses_a_cloudevent_whose_attribute_has_an_odd_type(
    isolation: Isolation, healthy: Healthy, name: str
) -> None:
    event = {**json.loads(EVENT), name: [{}]}
    assert isolation.service.call("POST", "/receive", json.dumps(event).encode())[0] == 400
    healthy.gets()


# Subscriptions


MEGABYTE = json.dumps(
    {**json.loads(EVENT), "data": [{"a": {"b": [n] * 5}, "c": "x" * 50} for n in range(10_000)]}
).encode()


@pytest.mark.parametrize("jsonpath", ["$.data[::0]", "$.data[0:100000000]", "$..*..*..*"])
def test_healthy_target_has_a_large_event_soon_when_a_jsonpath_is_costly(
    isolation: Isolation, healthy: Healthy, jsonpath: str
) -> None:
    assert len(MEGABYTE) > 1_000_000
    with RecordingServer() as target:
        body = {"name": "bad", "jsonpath": jsonpath, "target_url": target.url}
        status, answer = isolation.service.call(
            "POST", "/eventmatch", json.dumps(body).encode(), "bad"
        )
        assert status in (200, 400), answer
        assert healthy.gets(MEGABYTE).body == MEGABYTE
        healthy.gets()


def subscription_with(**members: Any) -> bytes:
    body = {"name": "bad", "jsonpath": "$.data", "target_url": "http://127.0.0.1:9", **members}
    return json.dumps(body).encode()


def test_eventmatch_refuses_extensions_that_are_nested_500_deep(
    isolation: Isolation, healthy: Healthy
) -> None:
    body = subscription_with(extensions="here").replace(b'"here"', nested(500))
    assert isolation.service.call("POST", "/eventmatch", body)[0] == 400
    healthy.gets()


def test_eventmatch_refuses_a_jsonpath_of_5_mb(isolation: Isolation, healthy: Healthy) -> None:
    body = subscription_with(jsonpath="$" + ".a" * 2_500_000)
    with closing(
        http.client.HTTPConnection("127.0.0.1", isolation.service.port, timeout=10)
    ) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # it answers before it has read all
            connection.request("POST", "/eventmatch", body, USER)
        assert connection.getresponse().status == 413
    healthy.gets()


def test_healthy_target_has_its_event_soon_when_a_jsonpath_has_1000_segments(
    isolation: Isolation, healthy: Healthy
) -> None:
    body = subscription_with(jsonpath="$" + ".a" * 1000)
    assert isolation.service.call("POST", "/eventmatch", body, "bad")[0] in (200, 400)
    healthy.gets()
    deep: dict[str, Any] = {}
    for _ in range(90):
        deep = {"a": deep}
    healthy.gets(json.dumps({**deep, "data": 1}).encode())
