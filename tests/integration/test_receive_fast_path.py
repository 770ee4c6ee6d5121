"""The fast path of events and CherryPy's own way, side by side: a client sees no difference."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

from tests.integration.webservice import Raw, Service, exchange, running
from tests.support.servers import eventually

EVENT = (Path(__file__).parents[1] / "captures" / "ingest.json").read_bytes()
#: Says nothing new, but CherryPy's own way is then the only one.
NO_FAST_PATH = "[/receive]\nrequest.throw_errors: False\n"
OF_1_0 = b'{"specversion": "1.0", "id": "i", "source": "s", "type": "t", "subject": null}'
ID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], dict[str, str]],
    migrated: Path,
) -> Iterator[list[Service]]:
    """Run one service with the fast path, and one without."""
    with ExitStack() as stack:
        started = []
        for name, settings in (("fast", ""), ("cherrypy", NO_FAST_PATH)):
            folder = tmp_path_factory.mktemp(name)
            environment = environment_in(folder)
            (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
            (folder / "cpconfig.ini").write_text(settings)
            started.append(stack.enter_context(running(environment, folder)))
        yield started


def request(
    body: bytes = EVENT, *headers: str, kind: str = "application/json", length: int | None = None
) -> bytes:
    lines = [
        "POST /receive HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def as_seen(answer: Raw) -> tuple[int, list[tuple[str, str]], bytes]:
    """Give an answer without what differs from one to the next."""
    headers = [(name, "" if name == "date" else value) for name, value in answer.headers.items()]
    return answer.status, headers, ID.sub(b"(id)", answer.body)


@pytest.mark.parametrize(
    "sent",
    [
        *(request(), request(b"{}"), request(kind="application/cloudevents+json")),
        request(b"{}", kind="application/cloudevents+json"),
        *(request(kind="application/json; charset=utf-8"), request(kind="text/plain")),
        *(request(b""), request(b"[]"), request(b"{"), request(b'{"a": NaN}'), request(b"\xff")),
        request(json.dumps({"cloudEventsVersion": "0.1", "source": 1}).encode()),
        *(request(EVENT, "Cookie: a=b"), request(EVENT, "Ce-Specversion: 1.0")),
        *(request(EVENT, "Pacifica-Notifications-Hops: 9"), request(EVENT, "User-Agent: a\tb")),
        request(EVENT, 'User-Agent: a "b" c', "Referer: http://example.org/\xe9"),
        *(request(OF_1_0), request(OF_1_0, kind="application/cloudevents+json")),
        request(b"[" + OF_1_0 + b"]", kind="application/cloudevents-batch+json"),
        *(request(OF_1_0, "Content-Encoding: gzip"), request(OF_1_0.replace(b'"i"', b"5"))),
        request(b"x", "Ce-Specversion: 1.0", "Ce-Id: 1", "Ce-Source: s", "Ce-Type: t", kind="a/b"),
        *(request(length=10**12), request().replace(b"Host: localhost\r\n", b"")),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request().replace(b"/receive ", b"/receive?a=b "),
    ],
    ids=lambda sent: ascii(sent[:400])[2:60],
)
def test_answer_is_the_same_by_both_ways(services: list[Service], sent: bytes) -> None:
    fast, usual = [as_seen(exchange(service.port, sent)) for service in services]
    assert fast == usual


@pytest.mark.parametrize("headers", [[], ["User-Agent: curl/8.5", "Referer: http://example.org/"]])
def test_line_of_the_access_log_is_the_same_by_both_ways(
    services: list[Service], headers: list[str]
) -> None:
    def line(service: Service) -> str:
        before = len(logged(service))
        exchange(service.port, request(EVENT, *headers))
        eventually(lambda: len(logged(service)) > before, 5)
        line = re.sub(r"\[.*?\]", "[time]", logged(service)[-1])
        line, _, event = line.rpartition(" ")
        UUID(event)
        return line

    fast, usual = map(line, services)
    assert fast == usual
    assert '"POST /receive HTTP/1.1" 200 36' in fast


def logged(service: Service) -> list[str]:
    return [line for line in service.program.output.splitlines() if '"POST /receive' in line]
