"""What becomes of an event that is larger than a statement may be on MariaDB's side."""

import json
from pathlib import Path
from uuid import uuid4

import pytest

from pacifica.notifications.errors import TooLarge
from pacifica.notifications.events import Event
from pacifica.notifications.store import events
from tests.support import databases
from tests.support.deployments import Service, environment_of
from tests.support.servers import free_port

pytestmark = [
    pytest.mark.server,
    pytest.mark.parametrize("engine", [pytest.param("mariadb", id="mariadb")], indirect=True),
]

#: More than a statement that stores an event has beside its text (bytes).
STATEMENT = 1000


@pytest.fixture
def max_size(database: str) -> int:
    """Tell the bytes that a statement must be less than, on the server that the tests use."""
    max_size = int(databases.execute(database, "SELECT @@max_allowed_packet")[0][0])
    if max_size > 64 * 2**20:
        pytest.skip("what the server takes is more than the service does")
    return max_size


def is_stored(size: int) -> bool:
    event = Event(uuid4(), "x" * size)
    try:
        events.record_all([event])
    except TooLarge:
        return False
    assert events.unknown([event.uuid]) == []
    return True


def test_event_is_stored_or_refused_as_too_large_at_every_size(max_size: int) -> None:
    stored, refused = max_size - STATEMENT, max_size
    assert is_stored(stored)
    assert not is_stored(refused)
    while refused - stored > 1:
        between = (stored + refused) // 2
        stored, refused = (between, refused) if is_stored(between) else (stored, between)


def test_event_of_escaped_characters_is_refused_when_its_statement_is_too_large(
    max_size: int,
) -> None:
    with pytest.raises(TooLarge):
        events.record_all([Event(uuid4(), '"' * (max_size // 2))])


def test_receive_answers_413_and_goes_on_when_an_event_is_too_large(
    max_size: int, database: str, tmp_path: Path
) -> None:
    # More than the database takes, so that the database refuses the event.
    bound = {"RECEIVE_MAX_BODY": str(2 * max_size)}
    service = Service(tmp_path, free_port(), environment_of(tmp_path, database, **bound))
    with service.web_server() as program:
        for _ in range(2):
            status, answer = service.call("POST", "/receive", b'{"data": "%s"}' % (b"x" * max_size))
            assert (status, json.loads(answer)["status"][:3]) == (413, "413")
            assert str(max_size) in json.loads(answer)["message"]
            service.receive()
    assert "Traceback" not in program.output
