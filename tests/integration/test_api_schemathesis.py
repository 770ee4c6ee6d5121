"""Every operation that the API describes, with requests that fit its description or do not."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.fuzz.api import ENVIRONMENT, TOKEN, Feeding, feed_api
from tests.integration.webservice import Service, running
from tests.support.servers import RecordingServer

READ_ONLY = ("/openapi.json", "/livez", "/readyz", "/metrics")
OPERATIONS = [
    *(("GET", "/eventmatch"), ("HEAD", "/eventmatch"), ("POST", "/eventmatch")),
    *(("GET", "/eventmatch/{uuid}"), ("HEAD", "/eventmatch/{uuid}")),
    *(("PUT", "/eventmatch/{uuid}"), ("DELETE", "/eventmatch/{uuid}")),
    *(("GET", "/eventmatch/{uuid}/delivery"), ("HEAD", "/eventmatch/{uuid}/delivery")),
    *(("PUT", "/eventmatch/{uuid}/delivery"), ("POST", "/receive")),
    ("POST", "/expressions/test"),
    *((method, path) for path in READ_ONLY for method in ("GET", "HEAD")),
    *(("GET", "/backtests"), ("HEAD", "/backtests"), ("POST", "/backtests")),
    *(("GET", "/backtests/{uuid}"), ("HEAD", "/backtests/{uuid}")),
    *(("DELETE", "/backtests/{uuid}"), ("POST", "/eventmatch/{uuid}/replays")),
    *(("GET", "/eventmatch/{uuid}/replays"), ("HEAD", "/eventmatch/{uuid}/replays")),
    *(("GET", "/eventmatch/{uuid}/replays/{uuid}"), ("HEAD", "/eventmatch/{uuid}/replays/{uuid}")),
    ("DELETE", "/eventmatch/{uuid}/replays/{uuid}"),
    *(("GET", "/eventmatch/{uuid}/deliveries"), ("GET", "/eventmatch/{uuid}/revisions")),
    *(("GET", "/events"), ("HEAD", "/events")),
]


@pytest.fixture(scope="module")
def asking(
    tmp_path_factory: pytest.TempPathFactory,
    environment_in: Callable[[Path], Mapping[str, str]],
    migrated: Path,
) -> Iterator[Service]:
    """Run a web server that asks subscribers for their names, and producers for a token."""
    folder = tmp_path_factory.mktemp("asking")
    (folder / "db.sqlite3").write_bytes(migrated.read_bytes())
    with RecordingServer(lambda _: (200, {}, b"{}")) as policy:
        environment = {**environment_in(folder), **ENVIRONMENT, "POLICY_URL": policy.url}
        with running(environment, folder) as service:
            yield service


@pytest.fixture(scope="module")
def feeding(asking: Service) -> Feeding:
    return feed_api(asking, examples=11, seconds=240)


def test_every_answer_is_as_described_whatever_is_sent(feeding: Feeding) -> None:
    assert feeding.passed, feeding.failures[:20_000]


def test_no_answer_is_a_server_error_whatever_is_sent(feeding: Feeding) -> None:
    assert feeding.server_errors == 0, feeding.statuses


def test_many_requests_of_every_operation_were_really_answered(feeding: Feeding) -> None:
    assert feeding.generated >= 800
    assert feeding.requests.total() >= 800
    least = {each: 50 if each[0] in ("POST", "PUT") else 1 for each in OPERATIONS}
    few = {each: feeding.requests[each] for each in least if feeding.requests[each] < least[each]}
    assert few == {}
    assert min(feeding.statuses[status] for status in (200, 400, 401, 403, 405, 415)) > 0


def test_the_server_goes_on_when_it_was_fed(asking: Service, feeding: Feeding) -> None:
    assert feeding.generated
    assert asking.call("GET", "/eventmatch", "somebody").json() == []
    event = {"cloudEventsVersion": "0.1", "eventType": "t", "source": "s", "eventID": "1"}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert asking.call("POST", "/receive", body=event, headers=headers).status_code == 200
