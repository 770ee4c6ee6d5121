"""An event of CloudEvents 1.0 on its whole way, in each mode, by installed commands."""

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from standardwebhooks import Webhook

from tests.support.deployments import Service, deployments, prepared
from tests.support.servers import RecordingServer, eventually

EVENT = {
    "specversion": "1.0",
    "type": "org.example.measured",
    "source": "/instruments/54",
    "id": "Ä 1",
    "subject": "run 7",
    "datacontenttype": "application/json",
    "data": {"value": 2**70, "unit": "µm"},
}
SECRET = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
MODES = ("structured", "binary")


@pytest.fixture(
    scope="module", params=deployments("sqlite-filesystem", "postgresql-amqp", "mariadb-redis")
)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with (
        prepared(request.param, folder, CELERY_SWEEP_INTERVAL="0.3") as service,
        service.web_server(),
        RecordingServer(lambda _: (200, {}, b"{}")) as policy,
        service.told(POLICY_URL=policy.url).worker(),
    ):
        yield service


def receive(service: Service, mode: str) -> str:
    """Send the event in a mode and return the id that the service gives it."""
    headers = {"Content-Type": "application/cloudevents+json"}
    body = json.dumps(EVENT).encode()
    if mode == "binary":
        headers = {
            "ce-specversion": "1.0",
            "ce-type": "org.example.measured",
            "ce-source": "/instruments/54",
            "ce-id": "%C3%84%201",
            "ce-subject": "run%207",
            "Content-Type": "application/json",
        }
        body = json.dumps(EVENT["data"]).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)) as connection:
        connection.request("POST", "/receive", body, headers)
        response = connection.getresponse()
        answer = response.read().decode()
        assert response.status == 200, answer
        return answer


@pytest.mark.parametrize("came", MODES)
def test_event_of_1_0_arrives_in_both_modes_when_it_came_in_either(
    service: Service, came: str
) -> None:
    auth = {"type": "signature", "signature": {"secrets": [SECRET]}}
    with RecordingServer() as target:
        for mode in MODES:
            uuid = service.subscribe(f"{target.url}/{mode}", auth=auth)
            wanted = json.dumps({"mode": mode}).encode()
            assert service.call("PUT", f"/eventmatch/{uuid}/delivery", wanted)[0] == 200
        event = receive(service, came)
        received = target.wait_for(2, timeout=20)
        eventually(lambda: service.deliveries(event) == [("delivered", "200")] * 2, 10)
    assert {each.path for each in received} == {"/structured", "/binary"}
    for each in received:
        headers = dict(each.headers)
        Webhook(SECRET).verify(each.body, headers)
        read = from_http_event(HTTPMessage(headers, each.body))
        assert ("ce-id" in headers) == (each.path == "/binary")
        assert (read.get_id(), read.get_subject()) == (EVENT["id"], EVENT["subject"])
        assert read.get_data() == EVENT["data"]
    for listed in json.loads(service.call("GET", "/eventmatch")[1]):
        service.call("DELETE", f"/eventmatch/{listed['uuid']}")
