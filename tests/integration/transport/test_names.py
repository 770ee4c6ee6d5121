"""Names of hosts: looked up, kept for a while, and never waited for by others."""

import socket
import threading
from dataclasses import replace
from typing import Any

import pytest

from pacifica.notifications.transport import Limits, SendFailure, Transport
from tests.support.servers import RecordingServer
from tests.support.transports import TIMEOUT, addresses, answer, post


def test_submit_connects_to_the_address_that_the_name_has(
    transport: Transport, target: RecordingServer, slow_names: list[str]
) -> None:
    for _ in range(3):
        answer(transport, post(f"http://Target.test:{target.port}/"))
    assert target.requests[0].headers["Host"] == f"Target.test:{target.port}"
    assert slow_names == ["target.test"]


def test_submit_tries_the_next_address_when_one_refuses(
    transport: Transport, target: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses("127.0.0.9", "127.0.0.1"))
    assert answer(transport, post(f"http://target.test:{target.port}/")).status == 200


def test_submit_serves_other_names_when_lookups_hang(
    target: RecordingServer, slow_names: list[str]
) -> None:
    with Transport(Limits(connect_timeout=0.3)) as transport:
        stuck = [transport.submit(post(f"http://{n % 20}.slow.test/")) for n in range(200)]
        assert answer(transport, post(f"http://target.test:{target.port}/")).status == 200
        reasons = {future.result(TIMEOUT) for future in stuck}
    assert reasons == {SendFailure("host not found within 0.3 s", 0.3)}
    assert len(slow_names) == 21  # each name once


@pytest.mark.usefixtures("slow_names")
def test_request_waits_no_longer_for_a_name_than_its_own_timeout(transport: Transport) -> None:
    patient, hurried = (
        post("http://1.slow.test/"),
        replace(post("http://1.slow.test/"), timeout=0.1),
    )
    futures = [transport.submit(each) for each in (patient, hurried)]
    reasons = [future.result(TIMEOUT) for future in futures]
    assert reasons == [SendFailure(f"host not found within {s} s", s) for s in (2, 0.1)]


def test_submit_uses_what_a_name_was_when_looking_it_up_again_hangs(
    target: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, over = threading.Event(), threading.Event()
    found = [addresses("127.0.0.1")]

    def getaddrinfo(*_: Any, **__: Any) -> list[Any]:
        if not found:
            again.set()
            over.wait(TIMEOUT)
            return addresses("127.0.0.1")
        return found.pop()

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with Transport(Limits(connect_timeout=0.3, dns_fresh=0)) as transport:
        for _ in range(3):
            assert answer(transport, post(f"http://target.test:{target.port}/")).status == 200
        assert again.wait(TIMEOUT)
        over.set()


def test_submit_waits_for_a_name_when_what_it_was_is_too_old(
    target: RecordingServer, slow_names: list[str]
) -> None:
    with Transport(Limits(dns_fresh=0, dns_kept=0)) as transport:
        for _ in range(3):
            answer(transport, post(f"http://target.test:{target.port}/"))
    assert slow_names == ["target.test"] * 3
