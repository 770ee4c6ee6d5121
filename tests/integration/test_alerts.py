"""The dashboard and the alert rules: they name what there is, and ring when they should."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pacifica.notifications.rest.metrics import PREFIX, metrics_of, text_of
from pacifica.notifications.store.monitoring import Snapshot
from tests.benchmarks.outages import OUTAGES, SCRAPE_EVERY

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs" / "operating" / "dashboard.json"
RULES = ROOT / "docs" / "operating" / "alerts.yml"
RECORDED = ROOT / "tests" / "alerts"
#: Which alerts each recorded outage raises; no other one may ring.
RAISED = {
    "workers": {"NotificationsNoWorker", "NotificationsEventsLate"},
    "policy": {"NotificationsPolicyAway"},
    "targets": {"NotificationsTargetsAway"},
    "broker": {"NotificationsBrokerAway", "NotificationsNoSweep", "NotificationsEventsLate"},
    "database": {"NotificationsDatabaseAway"},
}
#: Series for the rules that no outage of some minutes raises.
MADE = {
    "NotificationsAbsent": {},
    "NotificationsDeliveriesLate": {"oldest_due_delivery_seconds": "301+15x60"},
    "NotificationsEventsFailing": {"events_failing": "1x60"},
    "NotificationsManyDisabled": {'subscriptions{state="recovering"}': "0x20 20x60"},
    "NotificationsHoldingNearBound": {"subscriptions_near_bound": "1x60"},
    "NotificationsDeliveriesExpired": {
        'deliveries_finished_total{state="expired"}': "0x20 3x60",
    },
    "NotificationsWorkersDie": {'leases_expired_total{work="event"}': "0x20 50x60"},
}
#: A service that is well, scraped every 15 seconds from two web servers.
WELL = {
    "build_info": "1x80",
    "database_up": "1x80",
    "workers": "2x80",
    "sweeps_total": "0+15x80",
    "oldest_due_event_seconds": "0x80",
    "oldest_due_delivery_seconds": "0x80",
    "events_failing": "0x80",
    "subscriptions_near_bound": "0x80",
    "broker_failures_total": "0x80",
    'subscriptions{state="recovering"}': "3x80",
    'deliveries_finished_total{state="expired"}': "0x80",
    'leases_expired_total{work="event"}': "0x80",
    'policy_question_duration_seconds_count{verdict="allow"}': "0+30x80",
    'policy_question_duration_seconds_count{verdict="unknown"}': "0x80",
    'attempt_duration_seconds_count{status="2xx"}': "0+30x80",
    'attempt_duration_seconds_count{status="5xx"}': "0+1x80",
}
ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def promtool() -> str:
    """Give Prometheus' own tool to test rules, which Debian has in its package prometheus."""
    found = shutil.which("promtool")
    if found is None:
        absent = "promtool is not installed"
        if os.environ.get("CI") == "true":
            pytest.fail(absent)
        pytest.skip(absent)
    return found


def sample_names() -> set[str]:
    """Return the names of all series of a scrape."""
    text = text_of(metrics_of(Snapshot())).decode()
    families = text_string_to_metric_families(text)
    return {sample.name for family in families for sample in family.samples}


def expressions(node: Any) -> Iterator[str]:
    """Give every expression of a dashboard."""
    if isinstance(node, dict):
        yield from ([node["expr"]] if "expr" in node else [])
    for child in node.values() if isinstance(node, dict) else node:
        if isinstance(child, dict | list):
            yield from expressions(child)


def test_every_metric_of_dashboard_and_rules_is_in_a_scrape() -> None:
    dashboard = list(expressions(json.loads(DASHBOARD.read_text(encoding="utf-8"))))
    assert len(dashboard) > 20
    for text in (*dashboard, RULES.read_text(encoding="utf-8")):
        named = set(re.findall(rf"{PREFIX}\w+", text))
        assert named <= sample_names(), text
    shown = " ".join(dashboard)
    of_metrics = {PREFIX + family.name for family in metrics_of(Snapshot())}
    assert [name for name in sorted(of_metrics) if name not in shown] == []


def test_every_rule_is_tested() -> None:
    assert len(ALERTS) == len(set(ALERTS)) > 10
    assert set().union(*RAISED.values(), MADE) == set(ALERTS)


def test_the_rules_are_sound(promtool: str) -> None:
    assert run(promtool, "check", "rules", str(RULES)) == ""


def test_nothing_rings_when_all_is_well(promtool: str, tmp_path: Path) -> None:
    assert ringing(promtool, tmp_path, made(WELL), 15) == set()


@pytest.mark.parametrize("alert", MADE)
def test_alert_rings_when_its_series_say_so(promtool: str, tmp_path: Path, alert: str) -> None:
    series = {} if alert == "NotificationsAbsent" else {**WELL, **MADE[alert]}
    assert ringing(promtool, tmp_path, made(series), 15) == {alert}


@pytest.mark.parametrize("outage", OUTAGES)
def test_alerts_ring_in_a_recorded_outage(promtool: str, tmp_path: Path, outage: str) -> None:
    recorded = json.loads((RECORDED / f"{outage}.json").read_text(encoding="utf-8"))
    series = {
        quoted(name): " ".join("_" if value is None else f"{value:g}" for value in values)
        for name, values in recorded.items()
    }
    seconds = SCRAPE_EVERY * len(recorded["database_up"])
    assert ringing(promtool, tmp_path, series, SCRAPE_EVERY, seconds) == RAISED[outage]


def made(series: dict[str, str]) -> dict[str, str]:
    """Return series as two web servers show them, which tell the same."""
    return {
        (
            f'{name[:-1]},instance="{server}"}}'
            if "{" in name
            else f'{name}{{instance="{server}"}}'
        ): (values)
        for name, values in series.items()
        for server in ("one", "two")
    }


def quoted(name: str) -> str:
    """Return a series as Prometheus writes it, of `name{label=value}`."""
    return re.sub(r"\{(\w+)=([^}]*)\}", r'{\1="\2"}', name).replace("}{", ",")


def ringing(
    promtool: str, folder: Path, series: dict[str, str], interval: int, seconds: int = 1200
) -> set[str]:
    """Return the alerts that ring at any time of some series, which last for so many seconds.

    promtool compares alerts with those that are expected, and prints the others: none is expected.
    """
    tests = {
        "rule_files": [str(RULES)],
        "evaluation_interval": f"{interval}s",
        "tests": [
            {
                "interval": f"{interval}s",
                "input_series": [
                    {"series": PREFIX + name, "values": values} for name, values in series.items()
                ],
                "alert_rule_test": [
                    {"eval_time": f"{moment}s", "alertname": alert, "exp_alerts": []}
                    for alert in ALERTS
                    for moment in range(30, seconds, 30)
                ],
            }
        ],
    }
    file = folder / "test.yml"
    file.write_text(json.dumps(tests), encoding="utf-8")  # JSON is YAML
    return set(re.findall(r"alertname: ?(\w+)", run(promtool, "test", "rules", str(file))))


def run(*command: str) -> str:
    """Run a command and return what it says is wrong."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr if done.returncode else ""
