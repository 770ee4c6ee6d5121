"""A user's list of very many subscriptions, read by several at once from a real server."""

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import databases
from tests.support.deployments import USER, Service, environment_of
from tests.support.processes import descendants, memory
from tests.support.servers import free_port
from tests.support.templates import migrated_database
from tests.support.uwsgi import uwsgi_server

NUMBER = 20_000
AT_ONCE = 4
#: Less than one list has (bytes).
MAX_GROWTH = 20 * 2**20
# Copies of one subscription, with ids and times of their own.
COPIES = """
    CREATE TEMPORARY TABLE copy AS SELECT * FROM eventmatch;
    WITH RECURSIVE number(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM number WHERE n < {number})
    INSERT INTO eventmatch SELECT lower(hex(randomblob(16))), {others} FROM copy, number;
    UPDATE eventmatch SET created = '2026-01-31 12:00:00.' || printf('%06d', rowid);
"""


@dataclass(frozen=True)
class Listing:
    """A server with a user who has very many subscriptions, and its processes."""

    service: Service
    programs: frozenset[int]

    def memory(self) -> int:
        return sum(map(memory, self.programs))

    def read(self) -> list[str]:
        """Read the whole list and return its ids."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.service.port, timeout=60)) as web:
            web.request("GET", "/eventmatch", headers=USER)
            response = web.getresponse()
            assert response.status == 200
            return [each["uuid"] for each in json.loads(response.read())]


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listing]:
    folder: Path = tmp_path_factory.mktemp("listing")
    with migrated_database("sqlite", folder) as database:
        service = Service(folder, free_port(), environment_of(folder, database))
        with uwsgi_server(service.environment, folder, service.port) as program:
            service.subscribe("http://target.example/" + "x" * 1000)
            columns = "SELECT name FROM pragma_table_info('eventmatch') ORDER BY cid"
            (first, *others) = (f'"{name}"' for (name,) in databases.execute(database, columns))
            assert first == '"uuid"'
            copies = COPIES.format(number=NUMBER, others=", ".join(others))
            databases.execute(database, copies)
            yield Listing(service, frozenset({program.pid, *descendants(program.pid)}))


def test_list_is_complete_and_takes_little_memory_when_several_read_it_at_once(
    listing: Listing,
) -> None:
    listing.service.call("GET", "/eventmatch?limit=200")
    before, largest = listing.memory(), [0]
    with ThreadPoolExecutor(AT_ONCE) as readers:
        reading = [readers.submit(listing.read) for _ in range(AT_ONCE)]
        while not all(each.done() for each in reading):
            largest[0] = max(largest[0], listing.memory())
        lists = [each.result() for each in reading]
    assert all(len(set(each)) == NUMBER for each in lists)
    assert lists[1:] == lists[:-1]
    assert largest[0] - before < MAX_GROWTH
