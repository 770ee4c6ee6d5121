"""A host that hangs takes its own time and nobody else's."""

import threading
import time
from concurrent.futures import wait
from contextlib import ExitStack
from dataclasses import replace

from pacifica.notifications.transport import Limits, SendFailure, Transport
from tests.support import servers
from tests.support.servers import RawServer, Received, RecordingServer
from tests.support.transports import TIMEOUT, Gate, is_answered, silent_hosts, submitted, widen


def test_known_and_new_hosts_are_answered_soon_when_300_hosts_hang(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    with silent_hosts(300) as silent, Transport() as transport:
        assert is_answered(transport, target.url)
        for url in silent:
            submitted(transport, url, 5)
        assert is_answered(transport, target.url)
        assert is_answered(transport, newcomer.url)


def test_known_host_is_answered_soon_when_more_hosts_hang_than_there_are_places(
    target: RecordingServer,
) -> None:
    limits = Limits(connections=16)
    with silent_hosts(40) as silent, Transport(limits) as transport:
        assert is_answered(transport, target.url)
        for url in silent:
            submitted(transport, url)
        assert is_answered(transport, target.url)


def test_new_host_is_answered_soon_when_those_that_hang_have_done_so_before(
    target: RecordingServer,
) -> None:
    limits = Limits(connections=16, connect_timeout=2, total_timeout=2)
    with silent_hosts(20) as silent, Transport(limits) as transport:
        first = [future for url in silent for future in submitted(transport, url, 10)[:1]]
        assert not wait(first, TIMEOUT).not_done
        assert is_answered(transport, target.url)


def test_known_and_new_hosts_are_answered_soon_when_hosts_that_were_prompt_hang(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    limits = Limits(connections=64, connections_per_host=16)
    with ExitStack() as stack:
        transport = stack.enter_context(Transport(limits))
        before = [stack.enter_context(RecordingServer()) for _ in range(10)]
        gates = [Gate(server) for server in before]
        for server in before:
            widen(transport, server.url)
        assert is_answered(transport, target.url)
        for gate in gates:
            gate.shut()
        for server in before:
            submitted(transport, server.url, 16)
        assert is_answered(transport, target.url)
        assert is_answered(transport, newcomer.url)


def test_request_is_accepted_when_one_host_has_more_waiting_than_its_part_of_the_queue(
    target: RecordingServer,
) -> None:
    with silent_hosts(1) as (silent,), Transport(Limits(queue=100)) as transport:
        stuck = submitted(transport, silent, 90)
        assert is_answered(transport, target.url)
        refused = {future.result(0) for future in stuck if future.done()}
    assert {replace(each, retry_in=0.0) for each in refused} == {
        SendFailure("too many requests wait for this host", 0.0, ours=True)
    }


def test_host_has_one_in_flight_until_it_has_answered() -> None:
    with RawServer(servers.hanging) as hanging, Transport(Limits(total_timeout=0.3)) as transport:
        first, second, *_ = submitted(transport, hanging.url, 20)
        assert isinstance(first.result(TIMEOUT), SendFailure)
        assert isinstance(second.result(TIMEOUT), SendFailure)
        assert hanging.connections <= 3


def test_host_has_its_share_in_flight_at_once_when_it_answered_before(
    target: RecordingServer,
) -> None:
    together = threading.Barrier(16)

    def meet(_: Received) -> tuple[int, dict[str, str], bytes]:
        together.wait(TIMEOUT)
        return 200, {}, b""

    with Transport(Limits(connections_per_host=16)) as transport:
        widen(transport, target.url)
        target.answer = meet
        widen(transport, target.url, 16)


def test_host_has_its_share_in_flight_when_its_answers_take_long(target: RecordingServer) -> None:
    together = threading.Barrier(8)

    def meet_slowly(_: Received) -> tuple[int, dict[str, str], bytes]:
        together.wait(TIMEOUT)
        return 200, {}, b""

    limits = Limits(connections_per_host=8, prompt=0.0)
    with Transport(limits) as transport:
        widen(transport, target.url)
        target.answer = meet_slowly
        widen(transport, target.url, 8)


def test_host_has_one_in_flight_again_when_it_gave_no_answer(target: RecordingServer) -> None:
    limits = Limits(connections_per_host=4, total_timeout=0.3)
    gate = Gate(target)
    with Transport(limits) as transport:
        widen(transport, target.url)
        gate.shut()
        began = time.monotonic()
        assert not wait(submitted(transport, target.url, 8), TIMEOUT).not_done
    # Four together, then one after the other.
    assert time.monotonic() - began >= 5 * 0.3


def test_host_starts_afresh_when_it_was_forgotten(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    gate = Gate(target)
    with Transport(Limits(remembered=1)) as transport:
        widen(transport, target.url)
        widen(transport, newcomer.url)
        gate.shut()
        connections = target.connections
        sent = len(target.requests)
        submitted(transport, target.url, 8)
        target.wait_for(sent + 1)
        assert is_answered(transport, newcomer.url)  # by when the others would have started too
        assert len(target.requests) == sent + 1
        assert target.connections <= connections
        gate.open()
