"""A flow or a user that hangs leaves the rest of a host to others."""

import threading
from concurrent.futures import wait
from dataclasses import replace

from pacifica.notifications.transport import (
    FlowKey,
    Limits,
    Request,
    Response,
    SendFailure,
    Transport,
)
from tests.support import servers
from tests.support.servers import Received, RecordingServer
from tests.support.transports import (
    TIMEOUT,
    Gate,
    flow_is_answered,
    hanging_below,
    in_flight,
    in_flow,
    silent_hosts,
    submitted,
)

OF_A_HOST = Limits(connections=64, connections_per_host=32)


def test_known_and_new_flows_are_answered_soon_when_a_user_has_more_flows_that_hang_than_places(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    with Transport(OF_A_HOST) as transport:
        assert flow_is_answered(transport, target.url, "other", "known")
        for number in range(60):
            in_flow(transport, target.url, "one", f"hang{number}")
        servers.eventually(lambda: in_flight(target, "/hang") == 26)
        assert flow_is_answered(transport, target.url, "other", "known")
        assert flow_is_answered(transport, target.url, "newcomer", "new")
        assert in_flight(target, "/hang") == 26


def test_known_flow_is_answered_soon_when_flows_of_as_many_users_hang_as_may_be_in_flight(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    with Transport(OF_A_HOST) as transport:
        assert flow_is_answered(transport, target.url, "known", "known")
        for number in range(60):
            in_flow(transport, target.url, f"user{number}", f"hang{number}")
        servers.eventually(lambda: in_flight(target, "/hang") == 30)
        assert flow_is_answered(transport, target.url, "known", "known")


def test_new_flow_of_the_same_user_is_answered_soon_when_those_that_hang_have_done_so_before(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    limits = replace(OF_A_HOST, total_timeout=1.0)
    with Transport(limits) as transport:
        first = [in_flow(transport, target.url, "one", f"hang{number}") for number in range(28)]
        assert not wait(first, TIMEOUT).not_done
        for number in range(28):
            in_flow(transport, target.url, "one", f"hang{number}")
        assert flow_is_answered(transport, target.url, "one", "new", timeout=0.5)


def test_known_flow_is_answered_soon_when_another_host_has_half_of_all_connections(
    target: RecordingServer,
) -> None:
    limits = Limits(connections=16, connections_per_host=16)
    hanging_below("/hang", target)
    with silent_hosts(8) as silent, Transport(limits) as transport:
        assert flow_is_answered(transport, target.url, "one", "known")
        for url in silent:
            submitted(transport, url)
        in_flow(transport, target.url, "one", "hang1")
        servers.eventually(lambda: in_flight(target, "/hang") == 1)
        in_flow(transport, target.url, "one", "hang2")
        assert flow_is_answered(transport, target.url, "one", "known")
        assert in_flight(target, "/hang") == 1


def test_others_are_answered_soon_when_all_flows_of_a_user_hang_that_were_prompt(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    with Transport(OF_A_HOST) as transport:
        for number in range(60):
            assert flow_is_answered(transport, target.url, "one", f"hang{number}", TIMEOUT)
        sent = len(target.requests)
        hanging_below("/hang", target)
        for number in range(60):
            in_flow(transport, target.url, "one", f"hang{number}")
        target.wait_for(sent + 26)
        assert flow_is_answered(transport, target.url, "other", "new")
        assert flow_is_answered(transport, newcomer.url, "other", "new")


def test_others_are_answered_soon_when_more_hosts_of_a_user_hang_than_there_are_connections(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    limits = Limits(connections=32, connections_per_host=16)
    with silent_hosts(80) as silent, Transport(limits) as transport:
        for number, url in enumerate(silent):
            in_flow(transport, url, f"user{number % 2}", "hang")
        assert flow_is_answered(transport, target.url, "other", "new")
        assert flow_is_answered(transport, newcomer.url, "another", "new")


def test_all_requests_of_a_user_are_sent_when_it_has_more_than_its_share(
    target: RecordingServer, newcomer: RecordingServer
) -> None:
    limits = Limits(connections=10, connections_per_host=8)
    with Transport(limits) as transport:
        futures = [
            in_flow(transport, server.url, "one", f"flow{number % 20}")
            for number in range(200)
            for server in (target, newcomer)
        ]
        assert all(isinstance(future.result(TIMEOUT), Response) for future in futures)


def test_requests_of_others_are_accepted_when_those_of_a_user_to_many_hosts_wait(
    target: RecordingServer,
) -> None:
    with silent_hosts(80) as silent, Transport(Limits(connections=16, queue=40)) as transport:
        for number, url in enumerate(silent):
            in_flow(transport, url, "one", "hang")
            if number % 10 == 0:
                assert flow_is_answered(transport, target.url, "other", "known")


def test_users_take_turns_when_one_of_them_has_more_flows(target: RecordingServer) -> None:
    gate = Gate(target)
    gate.shut()
    limits = Limits(connections=8, connections_per_host=2)
    with Transport(limits) as transport:
        for number in range(20):
            in_flow(transport, target.url, "many", f"many{number}")
        target.wait_for(2)
        last = in_flow(transport, target.url, "few", "few")
        gate.open()
        assert isinstance(last.result(TIMEOUT), Response)
        paths = [received.path for received in target.wait_for(21)]
    assert "/few" in paths[:5]


def test_hanging_flow_has_one_request_in_flight_whatever_number_of_them_waits(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    with Transport(OF_A_HOST) as transport:
        for _ in range(50):
            in_flow(transport, target.url, "one", "hang")
        assert flow_is_answered(transport, target.url, "one", "other")
        assert in_flight(target, "/hang") == 1


def test_flow_has_its_share_in_flight_when_it_answered_before(target: RecordingServer) -> None:
    limits = replace(OF_A_HOST, connections_per_flow=4)
    running = threading.Semaphore(4)
    together = threading.Barrier(4)

    def meet(_: Received) -> tuple[int, dict[str, str], bytes]:
        assert running.acquire(blocking=False), "more than four"
        together.wait(TIMEOUT)
        running.release()
        return 200, {}, b""

    with Transport(limits) as transport:
        for _ in range(3):
            assert flow_is_answered(transport, target.url, "one", "flow")
        target.answer = meet
        futures = [in_flow(transport, target.url, "one", "flow") for _ in range(8)]
        assert all(isinstance(future.result(TIMEOUT), Response) for future in futures)


def test_requests_wait_when_others_of_their_host_have_more_waiting_than_its_part_of_the_queue(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    gate = threading.Event()
    with Transport(replace(OF_A_HOST, queue=400)) as transport:
        stuck = [
            in_flow(transport, target.url, "one", f"hang{number % 5}") for number in range(300)
        ]
        servers.eventually(lambda: any(future.done() for future in stuck))
        answer = target.answer
        target.answer = lambda received: (gate.wait(TIMEOUT), answer(received))[1]
        mine = [in_flow(transport, target.url, "one", "mine") for _ in range(5)]
        other = [in_flow(transport, target.url, "other", "other") for _ in range(20)]
        target.wait_for(5 + 2)  # one of each flow
        gate.set()
        results = [future.result(TIMEOUT) for future in (*mine, *other)]
    assert all(isinstance(result, Response) for result in results), results


def test_refusal_says_how_long_the_requests_of_a_hanging_flow_wait(
    target: RecordingServer,
) -> None:
    hanging_below("/hang", target)
    limits = replace(OF_A_HOST, queue=40, total_timeout=0.5)
    with Transport(limits) as transport:
        assert isinstance(
            in_flow(transport, target.url, "one", "hang").result(TIMEOUT), SendFailure
        )
        stuck = [in_flow(transport, target.url, "one", "hang") for _ in range(30)]
        servers.eventually(lambda: any(future.done() for future in stuck))
        refused = next(future.result() for future in stuck if future.done())
    assert isinstance(refused, SendFailure)
    assert 4 < refused.retry_in < 8  # ten or more that take half a second each


def test_request_with_a_timeout_of_its_own_goes_before_those_of_its_flow_that_wait(
    target: RecordingServer,
) -> None:
    gate = Gate(target)
    gate.shut()
    with Transport() as transport:
        futures = [in_flow(transport, target.url, "one", "flow") for _ in range(4)]
        target.wait_for(1)
        key = FlowKey("one", "flow")
        again = Request("POST", f"{target.url}/again", (), b"", TIMEOUT, key)
        futures.append(transport.submit(again))
        gate.open()
        assert not wait(futures, TIMEOUT).not_done
    assert [received.path for received in target.requests].index("/again") == 1
