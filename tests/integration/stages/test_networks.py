"""Delivering: what becomes of a delivery to a target that the rules about networks have."""

import socket
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import pytest

from tests.integration.stages.flow import Flow, enable, match_of, row, state_of
from tests.support.servers import RawServer, RecordingServer, banner

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
REFUSED = "addresses in 127.0.0.0/8 are not allowed"


@pytest.fixture
def denying(make_flow: Callable[..., Flow]) -> Flow:
    return make_flow(delivery_deny_networks=(ip_network("127.0.0.0/8"),))


def test_subscription_is_disabled_at_once_when_its_target_is_in_a_denied_network(
    denying: Flow,
) -> None:
    subscription = denying.subscribe()
    event = denying.send()
    match, stored = match_of(event), row(subscription)
    assert stored.error.endswith(f"failed after 1 attempt: {REFUSED}")
    assert (match.state, match.target_status, match.target_body) == ("held", "", REFUSED)
    assert stored.disabled is not None
    assert stored.probe is None  # nothing is tried again until somebody acts
    assert denying.target.connections == 0


def test_policy_is_asked_wherever_it_is_when_its_network_is_denied_to_targets(
    denying: Flow,
) -> None:
    denying.subscribe()
    denying.send()
    assert len(denying.policy.requests) == 1


def test_what_was_held_is_delivered_when_the_target_has_moved_to_an_allowed_network(
    denying: Flow, make_flow: Callable[..., Flow]
) -> None:
    subscription = denying.subscribe()
    event = denying.send()
    allowing = make_flow(
        delivery_deny_networks=(ip_network("127.0.0.0/8"),),
        delivery_allow_networks=(ip_network("127.0.0.1/32"),),
    )
    enable(subscription)
    allowing.go_on(event)
    assert state_of(event, subscription) == "delivered"


def test_subscription_is_disabled_when_its_name_has_come_to_mean_a_denied_address(
    denying: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = denying.subscribe(target_url=f"http://target.test:{denying.target.port}/hook")
    infos: list[Any] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    denying.send()
    error = row(subscription).error
    assert error.endswith(REFUSED)
    assert "127.0.0.1" not in error
    assert denying.target.connections == 0


def test_error_and_record_hold_nothing_of_a_banner_when_the_target_speaks_no_http(
    make_flow: Callable[..., Flow],
) -> None:
    flow = make_flow(delivery_attempts=1)
    with RawServer(banner) as server:
        subscription = flow.subscribe(target_url=server.url)
        match = match_of(flow.send())
    assert row(subscription).error.endswith("failed after 1 attempt: not an HTTP answer")
    assert (match.target_status, match.target_body) == ("", "not an HTTP answer")


def test_deliveries_name_their_origin_when_targets_are_asked_to_agree(
    make_flow: Callable[..., Flow], target: RecordingServer
) -> None:
    for asks in (False, True):
        flow = make_flow(delivery_handshake=asks, delivery_origin="notifications.example")
        if not asks:
            flow.subscribe()
        flow.send()
    without, with_origin = target.requests
    assert "WebHook-Request-Origin" not in without.headers
    assert with_origin.headers["WebHook-Request-Origin"] == "notifications.example"
