"""`/livez`, `/readyz` and `/metrics` of the installed web server."""

import signal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.webservice import Service, assert_error, running
from tests.support import databases
from tests.support.scraping import PREFIX, samples
from tests.support.servers import free_port

CHECKS = {"database": "ok", "schema": "ok", "broker": "ok"}


def test_livez_and_readyz_answer_when_all_is_well(service: Service) -> None:
    answer = service.call("GET", "/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "200 OK"})
    answer = service.call("GET", "/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "200 OK", "checks": CHECKS})
    for path in ("/livez", "/readyz", "/metrics"):
        assert service.call("HEAD", path).status_code == 200
        answer = service.call("POST", path)
        assert_error(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD"
        assert_error(service.call("GET", f"{path}/more"), 404)


@pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
def test_readyz_names_what_is_wrong(
    database: str, prepared: dict[str, str], tmp_path: Path
) -> None:
    # Nothing listens there, which keeps neither the server from starting nor requests away.
    prepared["BROKER_URL"] = f"pyamqp://127.0.0.1:{free_port()}"
    prepared["PEEWEE_URL"] = database
    with running(prepared, tmp_path) as service:
        answer = service.call("GET", "/readyz")
        assert answer.status_code == 200
        assert answer.json()["checks"] == {**CHECKS, "broker": "not reachable"}

        databases.execute(database, "UPDATE notificationsystem SET value = 3 WHERE part = 'major'")
        answer = service.call("GET", "/readyz")
        assert_error(answer, 503, "schema")
        checks = answer.json()["checks"]
        assert checks["database"] == "ok"
        assert "3.0" in checks["schema"]

        databases.drop(database)
        for _ in range(3):
            answer = service.call("GET", "/readyz")
        assert_error(answer, 503, "database")
        assert answer.json()["checks"]["database"] == "not reachable"
        assert service.call("GET", "/livez").status_code == 200

        found = samples(service.call("GET", "/metrics"))
        assert found["database_up"] == 0
        assert "events_waiting" not in found
        told = [line for line in service.program.lines if "the database" in line]
        assert len(told) == 1, told
        assert "the database fails: " in told[0]


def test_metrics_count_an_event_that_was_received(prepared: dict[str, str], tmp_path: Path) -> None:
    with running(prepared, tmp_path) as service:
        before = samples(service.call("GET", "/metrics"))
        assert before["events_waiting"] == before["events_received_total"] == 0
        assert service.call("POST", "/receive", body={"a": 1}).status_code == 200
        found = samples(service.call("GET", "/metrics"))
        assert found["database_up"] == found["events_waiting"] == 1
        # At its end, a server reports what it counted.
        service.program.signal(signal.SIGTERM)
        assert service.program.wait() == 0
    with running(prepared, tmp_path) as service:
        found = samples(service.call("GET", "/metrics"))
        assert found["events_received_total"] == 1
        service.create("alice")
        assert samples(service.call("GET", "/metrics"))["subscriptions{state=enabled}"] == 1


def test_metrics_name_no_user_and_no_url(service: Service) -> None:
    service.create("somebody-special")
    text = service.call("GET", "/metrics").text
    assert "somebody" not in text
    assert "target.example" not in text
    families = list(text_string_to_metric_families(text))
    assert all(family.name.startswith(PREFIX) for family in families)
    assert all(family.documentation for family in families)
    assert sum(len(family.samples) for family in families) < 400


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP", "Pacifica-Proxy-Secret"],
)
def test_metrics_are_refused_when_a_proxy_passed_the_request_on(
    service: Service, header: str
) -> None:
    answer = service.call("GET", "/metrics", headers={header: "192.0.2.1"})
    assert_error(answer, 403, "metrics")
    assert_error(service.call("GET", "/metrics", "alice"), 403, "metrics")


@pytest.mark.parametrize(
    ("addresses", "proxies", "status"),
    [
        ("", "127.0.0.1", 403),
        ("127.0.0.0/8", "127.0.0.1", 200),
        ("192.0.2.0/24", "", 403),
        ("", "192.0.2.1", 200),
    ],
)
def test_metrics_are_read_from_configured_addresses_alone(
    prepared: dict[str, str], tmp_path: Path, addresses: str, proxies: str, status: int
) -> None:
    prepared["WEB_METRICS_ADDRESSES"] = addresses
    prepared["NOTIFICATIONS_TRUSTED_PROXIES"] = proxies
    with running(prepared, tmp_path) as service:
        assert service.call("GET", "/metrics").status_code == status
        assert service.call("GET", "/livez").status_code == 200


def test_every_web_server_tells_the_same(service: Service, tmp_path: Path) -> None:
    with running({**service.environment}, tmp_path) as other:
        for _ in range(3):
            assert service.call("POST", "/receive", body={"a": 1}).status_code == 200
        here = samples(service.call("GET", "/metrics"))
        there = samples(other.call("GET", "/metrics"))
        assert here["events_waiting"] == there["events_waiting"] >= 3
