"""Suppressing duplicates at `/receive`: what producers send again is stored once."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from uuid import UUID

import pytest
import requests

from tests.integration.test_receive import EVENT, post, stored, told
from tests.integration.test_receive_modes import BATCH, BINARY, lines_of
from tests.integration.webservice import Service, running
from tests.support import databases
from tests.support.servers import eventually

OF_1_0 = {"specversion": "1.0", "id": "one", "source": "s", "type": "t"}


@pytest.fixture(scope="module")
def suppressing(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], dict[str, str]],
    migrated: Path,
) -> Iterator[Service]:
    """Run a service that suppresses duplicates."""
    folder = tmp_path_factory.mktemp("suppressing")
    environment = environment_in(folder)
    (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
    (folder / "config.ini").write_text("[receive]\ndeduplicate = 3600\n")
    with running(environment, folder) as service:
        yield service


def test_answer_is_the_first_ones_id_when_an_event_comes_again(suppressing: Service) -> None:
    first = post(suppressing, {**EVENT, "data": 1}).text
    assert post(suppressing, {**EVENT, "data": 2}).text == first
    assert stored(suppressing, first)["data"] == 1
    assert post(suppressing, {**EVENT, "eventID": "another"}).text != first


def test_event_is_the_same_in_whichever_mode_it_comes(suppressing: Service) -> None:
    event = {**OF_1_0, "id": "in every mode"}
    first = post(suppressing, event).text
    headers = {**BINARY, "ce-id": "in%20every%20mode", "Content-Type": "text/plain"}
    assert post(suppressing, b"x", headers=headers).text == first
    other = {**event, "id": "other"}
    batch = lines_of(post(suppressing, [other, event, other], headers=BATCH))
    assert batch[1] == first
    assert batch[0] == batch[2] != first


def test_object_without_version_is_never_a_duplicate(suppressing: Service) -> None:
    assert post(suppressing, {"id": "i"}).text != post(suppressing, {"id": "i"}).text


def test_workers_are_told_of_what_is_stored_alone_when_an_event_comes_many_times(
    suppressing: Service,
) -> None:
    event = {**OF_1_0, "id": "from many"}

    def send(_number: int) -> str:
        return requests.post(f"{suppressing.url}/receive", json=event, timeout=20).text

    with ThreadPoolExecutor(16) as clients:
        assert len(set(clients.map(send, range(64)))) == 1
    last = post(suppressing, {**OF_1_0, "id": "after it"}).text
    eventually(lambda: last in chain.from_iterable(told(suppressing.folder)), 5)
    assert sorted(chain.from_iterable(told(suppressing.folder))) == sorted(all_stored(suppressing))


def all_stored(service: Service) -> list[str]:
    rows = databases.execute(service.environment["PEEWEE_URL"], "SELECT uuid FROM eventlog")
    return [str(UUID(uuid)) for (uuid,) in rows]
