"""Which targets `/eventmatch` takes: by the rules about networks, and by what targets answer."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.webservice import SUBSCRIPTION, Service, assert_error, running
from tests.support import databases
from tests.support.servers import (
    AnswerTriple,
    RawServer,
    Received,
    RecordingServer,
    free_port,
    hanging,
)

EnvironmentIn = Callable[[Path], dict[str, str]]
ORIGIN = "notifications.example"
METADATA = "addresses in 169.254.0.0/16 are not allowed"
AGREED = {"WebHook-Allowed-Origin": ORIGIN}
# How many targets a process asks at once.
AT_ONCE = 3


@pytest.fixture(scope="module")
def start(
    tmp_path_factory: pytest.TempPathFactory, environment_in: EnvironmentIn, migrated: Path
) -> Callable[..., Any]:
    """Return a function that runs a web server with settings of its own."""

    def started(**settings: str) -> Any:
        folder = tmp_path_factory.mktemp("targets")
        environment = environment_in(folder) | settings
        (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
        return running(environment, folder)

    return started


@pytest.fixture(scope="module")
def strict(start: Callable[..., Any]) -> Iterator[Service]:
    with start(DELIVERY_STRICT="yes", DELIVERY_ALLOW_NETWORKS="10.1.0.0/16") as service:
        yield service


@pytest.fixture(scope="module")
def denying(start: Callable[..., Any]) -> Iterator[Service]:
    """A service that denies loopback and asks targets: those that it denies must not be asked."""
    with start(DELIVERY_DENY_NETWORKS="127.0.0.0/8 ::1", DELIVERY_HANDSHAKE="yes") as service:
        yield service


@pytest.fixture(scope="module")
def asking(start: Callable[..., Any]) -> Iterator[Service]:
    with start(
        DELIVERY_HANDSHAKE="yes", DELIVERY_ORIGIN=ORIGIN, DELIVERY_TIMEOUT="2", CELERY_LEASE="21"
    ) as service:
        yield service


@pytest.fixture
def target() -> Iterator[RecordingServer]:
    with RecordingServer(lambda _: (200, AGREED, b"")) as server:
        yield server


def posted(service: Service, user: str, url: str, **others: Any) -> requests.Response:
    return service.call("POST", "/eventmatch", user, {**SUBSCRIPTION, "target_url": url, **others})


def assert_target_refused(response: requests.Response, reason: str) -> None:
    assert_error(response, 400, reason)
    assert response.json()["fields"] == [{"field": "target_url", "reason": reason}]


# Networks


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.254.169.254", "169.254.43518"),
        *("[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "169.254.169.254."),
    ],
)
def test_post_is_refused_when_the_target_is_where_clouds_answer_their_machines(
    service: Service, user: str, host: str
) -> None:
    assert_target_refused(posted(service, user, f"http://{host}/latest/meta-data"), METADATA)
    assert service.call("GET", "/eventmatch", user).json() == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "10.0.0.1", "192.168.1.1", "localhost", "no-such-name.invalid"]
)
def test_post_is_taken_when_the_target_is_local_private_or_not_found(
    service: Service, user: str, host: str
) -> None:
    assert posted(service, user, f"http://{host}:8080/").status_code == 200


def test_put_is_refused_when_it_names_another_target_that_is_denied(
    service: Service, user: str
) -> None:
    created = service.create(user)
    path = f"/eventmatch/{created['uuid']}"
    change = {"name": "other", "target_url": "http://[fe80::1]/"}
    assert_target_refused(
        service.call("PUT", path, user, change), "addresses in fe80::/10 are not allowed"
    )
    assert service.call("GET", path, user).json() == created


def test_put_of_a_denied_target_answers_403_when_the_subscription_is_somebody_elses(
    service: Service, user: str
) -> None:
    path = f"/eventmatch/{service.create('somebody-else')['uuid']}"
    response = service.call("PUT", path, user, {"target_url": "http://169.254.169.254/"})
    assert_error(response, 403, "there is no such subscription of yours")


def test_post_is_refused_when_a_name_has_denied_addresses_only(denying: Service, user: str) -> None:
    response = posted(denying, user, f"https://localhost:{free_port()}/")
    assert_error(response, 400, "target_url: addresses in ", " are not allowed")


def test_target_is_not_asked_when_it_is_denied(
    denying: Service, user: str, target: RecordingServer
) -> None:
    reason = "addresses in 127.0.0.0/8 are not allowed"
    assert_target_refused(posted(denying, user, target.url), reason)
    assert target.connections == 0


def test_post_is_refused_when_strict_and_the_target_is_plain_http(
    strict: Service, user: str
) -> None:
    assert_target_refused(posted(strict, user, "http://10.1.2.3/"), "only https is allowed")


@pytest.mark.parametrize("host", ["127.0.0.1", "10.2.0.1", "100.64.0.1", "[fd00::1]", "localhost"])
def test_post_is_refused_when_strict_and_the_target_is_not_of_the_public_internet(
    strict: Service, user: str, host: str
) -> None:
    reason = "only addresses of the public internet are allowed"
    assert_target_refused(posted(strict, user, f"https://{host}/"), reason)


@pytest.mark.parametrize("host", ["8.8.8.8", "[2606:4700::1111]", "10.1.2.3"])
def test_post_is_taken_when_strict_and_the_target_is_public_or_an_exception(
    strict: Service, user: str, host: str
) -> None:
    assert posted(strict, user, f"https://{host}/").status_code == 200


# The handshake


@pytest.mark.parametrize("allowed", [ORIGIN, ORIGIN.upper(), "*", f"  {ORIGIN}  "])
def test_post_is_taken_when_the_target_agrees(
    asking: Service, user: str, target: RecordingServer, allowed: str
) -> None:
    target.answer = lambda _: (200, {"WebHook-Allowed-Origin": allowed}, b"")
    auth = {"type": "basic", "basic": {"username": "bob", "password": "sesame"}}
    assert posted(asking, user, f"{target.url}/hook?a=b", auth=auth).status_code == 200
    (received,) = target.requests
    assert (received.method, received.path, received.body) == ("OPTIONS", "/hook?a=b", b"")
    assert received.headers["WebHook-Request-Origin"] == ORIGIN
    assert received.headers["Authorization"] == "Basic Ym9iOnNlc2FtZQ=="
    assert "WebHook-Request-Rate" not in received.headers
    assert "WebHook-Request-Callback" not in received.headers


DISAGREEMENTS = {
    "without the header": ((200, {}, b""), "its answer has no WebHook-Allowed-Origin"),
    "to others": (
        (200, {"WebHook-Allowed-Origin": "other.example"}, b"secret"),
        f"its WebHook-Allowed-Origin is neither {ORIGIN} nor *",
    ),
    "to a list": (
        (200, {"WebHook-Allowed-Origin": f"{ORIGIN}, *"}, b""),
        f"its WebHook-Allowed-Origin is neither {ORIGIN} nor *",
    ),
    "not at all": ((405, {"Allow": "POST"}, b"secret"), "it answered 405"),
    "with an error": ((404, AGREED, b"secret"), "it answered 404"),
    "elsewhere": ((307, {**AGREED, "Location": "/agree"}, b""), "it answered 307"),
}


@pytest.mark.parametrize(("answer", "reason"), DISAGREEMENTS.values(), ids=DISAGREEMENTS.keys())
def test_post_is_refused_when_the_target_does_not_agree(
    asking: Service, user: str, target: RecordingServer, answer: AnswerTriple, reason: str
) -> None:
    target.answer = lambda _: answer
    response = posted(asking, user, target.url)
    assert_target_refused(response, f"did not agree to be sent events: {reason}")
    assert len(target.requests) == 1
    assert service_is_empty(asking, user)


def service_is_empty(service: Service, user: str) -> bool:
    return service.call("GET", "/eventmatch", user).json() == []


def test_post_is_refused_when_the_target_is_not_there(asking: Service, user: str) -> None:
    response = posted(asking, user, f"http://127.0.0.1:{free_port()}/")
    assert_target_refused(response, "did not agree to be sent events: no connection")


def test_target_is_not_asked_when_the_body_is_wrong_otherwise(
    asking: Service, user: str, target: RecordingServer
) -> None:
    assert_error(posted(asking, user, target.url, name=""), 400, "name")
    assert target.requests == []


def test_put_asks_the_target_when_it_is_another_one_only(
    asking: Service, user: str, target: RecordingServer
) -> None:
    auth = {"type": "header", "header": {"type": "Bearer", "credentials": "tok"}}
    created = posted(asking, user, f"{target.url}/first", auth=auth).json()
    path = f"/eventmatch/{created['uuid']}"
    assert asking.call("PUT", path, user, {**created, "name": "renamed"}).status_code == 200
    assert len(target.requests) == 1
    change = {"target_url": f"{target.url}/second"}
    assert asking.call("PUT", path, user, change).status_code == 200
    assert [received.path for received in target.requests] == ["/first", "/second"]
    assert target.requests[1].headers["Authorization"] == "Bearer tok"
    target.answer = lambda _: (200, {}, b"")
    response = asking.call("PUT", path, user, {"target_url": f"{target.url}/third"})
    assert_error(response, 400, "target_url: did not agree")
    stored = asking.call("GET", path, user).json()
    assert stored["target_url"] == f"{target.url}/second"


def test_put_answers_403_and_asks_nobody_when_the_subscription_is_somebody_elses(
    asking: Service, user: str, target: RecordingServer
) -> None:
    created = posted(asking, f"{user}-other", f"{target.url}/first").json()
    change = {"target_url": f"{target.url}/second"}
    response = asking.call("PUT", f"/eventmatch/{created['uuid']}", user, change)
    assert_error(response, 403, "there is no such subscription of yours")
    assert len(target.requests) == 1


def test_put_asks_nobody_when_the_stored_auth_is_broken(
    asking: Service, user: str, target: RecordingServer
) -> None:
    created = posted(asking, user, f"{target.url}/first").json()
    databases.execute(
        asking.environment["PEEWEE_URL"],
        f"""UPDATE eventmatch SET auth = '{{"type": "basic"}}' WHERE user = '{user}'""",  # noqa: S608
    )
    change = {"target_url": f"{target.url}/second"}
    response = asking.call("PUT", f"/eventmatch/{created['uuid']}", user, change)
    assert_error(response, 400, "auth: its auth of type basic is not complete")
    assert len(target.requests) == 1


def test_post_is_refused_in_time_when_the_target_hangs(asking: Service, user: str) -> None:
    with RawServer(hanging) as server:
        response = posted(asking, user, server.url)
    assert_target_refused(response, "did not agree to be sent events: no answer within 2 s")
    assert response.elapsed.total_seconds() < 4


def test_few_wait_for_targets_at_once_and_one_user_waits_once(
    asking: Service, user: str, target: RecordingServer
) -> None:
    over = threading.Event()

    def hang(_received: Received) -> AnswerTriple:
        over.wait(10)
        return 200, AGREED, b""

    with ExitStack() as stack:
        # Several, since one that is new is sent one request at first.
        slow = [stack.enter_context(RecordingServer(hang)) for _ in range(AT_ONCE)]
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        users = [f"{user}-{each.port}" for each in slow]
        waiting = [
            pool.submit(fresh_post, asking, name, each.url)
            for name, each in zip(users, slow, strict=True)
        ]
        try:
            for each in slow:
                each.wait_for(1)
            again = posted(asking, users[0], f"{target.url}/again")
            assert_error(again, 429, "another target of yours is being tried")
            assert again.headers["Retry-After"] == "5"
            more = posted(asking, user, f"{target.url}/more")
            assert_error(more, 503, "too many targets are being tried")
            event = b'{"cloudEventsVersion":"0.1","eventType":"t","source":"/s","eventID":"1"}'
            received = asking.call("POST", "/receive", None, event)
            assert received.status_code == 200, received.text
        finally:
            over.set()
        assert [answer.result(20).status_code for answer in waiting] == [200] * AT_ONCE
    assert target.requests == []
    assert posted(asking, user, target.url).status_code == 200  # places are free again


def test_put_keeps_nobody_from_writing_while_its_target_is_asked(
    asking: Service, user: str, target: RecordingServer
) -> None:
    over = threading.Event()

    def hang(_received: Received) -> AnswerTriple:
        over.wait(10)
        return 200, AGREED, b""

    created = posted(asking, user, target.url).json()
    with RecordingServer(hang) as slow, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fresh_put, asking, user, created["uuid"], slow.url)
        try:
            slow.wait_for(1)
            assert posted(asking, f"{user}-other", target.url).status_code == 200
            assert not waiting.done()
        finally:
            over.set()
        assert waiting.result(20).json()["target_url"] == slow.url


def fresh_put(service: Service, user: str, uuid: str, url: str) -> requests.Response:
    """Change a subscription's target over a connection of its own, from any thread."""
    headers = {"Http-Remote-User": user}
    place = f"{service.url}/eventmatch/{uuid}"
    return requests.put(place, json={"target_url": url}, headers=headers, timeout=20)


def fresh_post(service: Service, user: str, url: str) -> requests.Response:
    """Create a subscription over a connection of its own, from any thread."""
    body = {**SUBSCRIPTION, "target_url": url}
    headers = {"Http-Remote-User": user}
    return requests.post(f"{service.url}/eventmatch", json=body, headers=headers, timeout=20)
