"""Bodies that are small on the wire and large in memory, sent to real servers by many at once."""

import gzip
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

import pytest

from tests.support.deployments import environment_of
from tests.support.processes import descendants, memory, web_server
from tests.support.servers import free_port
from tests.support.templates import migrated_database
from tests.support.uwsgi import uwsgi_server

MEGABYTE = 2**20
MAX_BODY = 8 * MEGABYTE
MAX_VALUES = 250_000
MAX_MEMORY = 400 * MEGABYTE
#: How long a healthy event may take, in the median and at worst (seconds).
MEDIAN, SLOWEST = 0.2, 1.0
AT_ONCE = 50
#: How many healthy events are measured at least, and for how long at most (seconds).
MEASUREMENTS, PATIENCE = 30, 30
EVENT = (Path(__file__).parents[1] / "captures" / "ingest.json").read_bytes()
BOMBS = {
    "63 MB": b'{"data":[' + b"[]," * (21 * MEGABYTE) + b"0]}",
    "as large as a body may be": b'{"data":[' + b"[]," * (MAX_BODY // 3 - 10) + b"0]}",
    "as many values as a body may have": b'{"data":[' + b"{}," * (MAX_VALUES // 2 - 10) + b"0]}",
}


@pytest.fixture(params=["CherryPy", "uWSGI"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Run a server with the defaults; gives its port and its process."""
    port = free_port()
    run = {"CherryPy": web_server, "uWSGI": uwsgi_server}[request.param]
    with migrated_database("sqlite", tmp_path) as database:
        environment = environment_of(tmp_path, database)
        with run(environment, tmp_path, port) as program:
            yield port, program.pid


def post(port: int, body: bytes, **headers: str) -> tuple[int, http.client.HTTPMessage]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("POST", "/receive", body, {"Content-Type": "application/json", **names})
        response = connection.getresponse()
        response.read()
        return response.status, response.headers


@contextmanager
def repeating(measure: Callable[[], float]) -> Iterator[list[float]]:
    """Measure again and again during the block, in a thread of its own."""
    found: list[float] = []
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.01):
            found.append(measure())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


@pytest.mark.timing
@pytest.mark.parametrize("bomb", BOMBS)
def test_events_are_taken_promptly_when_small_bodies_inflate_to_large_ones(
    server: tuple[int, int], bomb: str
) -> None:
    port, pid = server
    packed = gzip.compress(BOMBS[bomb])
    assert len(packed) < 70_000, len(packed)
    processes = {pid, *descendants(pid)}
    answers: Counter[int] = Counter()

    def healthy() -> float:
        began = time.monotonic()
        answers[post(port, EVENT)[0]] += 1
        return time.monotonic() - began

    healthy()
    with (
        ThreadPoolExecutor(AT_ONCE) as attackers,
        repeating(lambda: max(map(memory, processes))) as sizes,
        repeating(healthy) as seconds,
    ):
        statuses: Counter[int] = Counter()
        deadline = time.monotonic() + PATIENCE
        # As long as a median of few measurements would say little.
        while len(seconds) < MEASUREMENTS and time.monotonic() < deadline:
            attacks = [
                attackers.submit(post, port, packed, Content_Encoding="gzip")
                for _ in range(AT_ONCE)
            ]
            statuses.update(each.result()[0] for each in attacks)
    assert statuses.keys() <= {200, 413, 503}
    assert answers.keys() == {200}
    assert max(sizes) < MAX_MEMORY
    assert len(seconds) >= MEASUREMENTS
    assert median(seconds) < MEDIAN
    assert max(seconds) < SLOWEST


def test_event_of_ten_thousand_files_is_taken_plain_and_compressed(
    server: tuple[int, int],
) -> None:
    files = [each for each in json.loads(EVENT)["data"] if each["destinationTable"] == "Files"]
    event = {**json.loads(EVENT), "data": files[:1] * 10_000}
    body = json.dumps(event).encode()
    assert len(body) > 2_700_000
    assert post(server[0], body)[0] == 200
    assert post(server[0], gzip.compress(body), Content_Encoding="gzip")[0] == 200


@pytest.mark.parametrize("mode", ["structured", "binary", "batch"])
def test_event_is_413_when_it_has_too_many_values(server: tuple[int, int], mode: str) -> None:
    headers = {
        "structured": {},
        "batch": {"Content_Type": "application/cloudevents-batch+json"},
        "binary": {"ce_specversion": "1.0", "ce_id": "i", "ce_source": "s", "ce_type": "t"},
    }[mode]
    status, _ = post(server[0], b"[" + b"0," * MAX_VALUES + b"0]", **headers)
    assert status == 413
