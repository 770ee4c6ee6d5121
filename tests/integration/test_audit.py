"""The check for known vulnerabilities, asked of a service that knows what the test says."""

import json
from importlib.metadata import version
from typing import Any

import pytest

from tests.audit import audit, ignored, judged, needed
from tests.support.servers import Received, RecordingServer, free_port

VERSIONS = {"alpha": "1.0", "beta": "2.0"}
KNOWN = {
    "id": "PYSEC-2026-1",
    "aliases": ["CVE-2026-1"],
    "affected": [
        {
            "package": {"name": "alpha", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


def knowing(received: Received) -> tuple[int, dict[str, str], bytes]:
    """Answer as a vulnerability service that knows of one in alpha."""
    asked = json.loads(received.body)["package"]["name"]
    body: Any = {"vulns": [KNOWN]} if asked == "alpha" else {}
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    with RecordingServer(knowing) as server:
        monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", server.url)
        yield server


@pytest.mark.usefixtures("service")
def test_audit_fails_when_a_vulnerability_is_known() -> None:
    found = audit(VERSIONS, {})
    assert not found.passed
    assert found.lines == ("alpha 1.0: PYSEC-2026-1: fixed in 1.1", "audited 2 packages")


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("name", ["PYSEC-2026-1", "CVE-2026-1"])
def test_audit_passes_and_tells_the_reason_when_it_is_ignored(name: str) -> None:
    found = audit(VERSIONS, {name: "never called"})
    assert found.passed
    assert found.lines[0] == "alpha 1.0: PYSEC-2026-1: ignored: never called"


@pytest.mark.usefixtures("service")
def test_audit_passes_when_nothing_is_known() -> None:
    assert audit({"beta": "2.0"}, {}) == judged({"dependencies": [{"vulns": []}]}, {})


def test_audit_is_skipped_when_the_service_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", f"http://127.0.0.1:{free_port()}")
    found = audit(VERSIONS, {})
    assert found.passed
    (line,) = found.lines
    assert line.startswith("skipped: ")


def test_audit_is_skipped_when_the_service_knows_no_package() -> None:
    report = {"dependencies": [{"name": "alpha", "skip_reason": "not found: alpha (1.0)"}]}
    assert judged(report, {}).lines == ("skipped: not found: alpha (1.0)",)


def test_needed_has_what_is_needed_at_run_time_and_nothing_of_the_tools() -> None:
    versions = needed()
    assert versions["cherrypy"] == version("CherryPy")
    assert {"cheroot", "kombu", "psycopg2-binary", "redis"} <= versions.keys()
    assert versions.keys().isdisjoint({"pytest", "sphinx", "schemathesis", "ruff"})


def test_ignored_wants_a_reason_for_each() -> None:
    assert ignored("# comment\n\nCVE-1 never called\n") == {"CVE-1": "never called"}
    with pytest.raises(ValueError, match="CVE-2 has no reason"):
        ignored("CVE-2\n")
