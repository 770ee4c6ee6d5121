"""The page with all that its screens show: a worker, a Policy, targets, and events that came."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacifica.notifications.ui.workbench import example
from tests.integration.webservice import Service, running
from tests.support import databases
from tests.support.crowd import ODD
from tests.support.deployments import Deployment, prepared
from tests.support.servers import Received, RecordingServer, eventually

OWNER, OPERATOR = "ann", "otto"
#: The transactions of the events that came; Policy denies the last one.
TRANSACTIONS = (1234, 1235, 1236, 1237)
DENIED = TRANSACTIONS[-1]
VISIBLE = len(TRANSACTIONS) - 1
#: Expressions: one that matches all events, and one that nearly does.
FILES = '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plain")]'
NUMBER = '$.data[*][?(@.destinationTable = "Transactions.instrument" and @.value = 54)]'
TEXT = NUMBER.replace("54", '"54"')
SAID = "the workflow is down for maintenance"
_SETTINGS = {
    "CELERY_SWEEP_INTERVAL": "0.3",
    "DELIVERY_ATTEMPTS": "2",
    "DELIVERY_RETRY_FIRST": "0.1",
    "RECOVERY_WAITS": "3600",
    "WEB_OPERATORS": OPERATOR,
}
_UNDER_WAY = (
    "SELECT (SELECT COUNT(*) FROM eventlog WHERE due IS NOT NULL) + "
    "(SELECT COUNT(*) FROM eventlogmatch WHERE state IN ('matched', 'allowed'))"
)


@dataclass
class WholePage:
    """A service whose page has something on every screen.

    `good`, `nearly` and `failing` are subscriptions of OWNER: one that delivers, one that nothing
    matches, and one whose target fails.
    """

    service: Service
    target: RecordingServer
    policy: RecordingServer
    good: str = ""
    nearly: str = ""
    failing: str = ""
    events: dict[int, str] = field(default_factory=dict)

    def subscribed(self, path: str, name: str, jsonpath: str, user: str = OWNER) -> str:
        """Make a subscription whose target has a path, and return its id."""
        target = f"{self.target.url}/{path}"
        created = self.service.create(user, name=name, jsonpath=jsonpath, target_url=target)
        return str(created["uuid"])

    def receive(self, transaction: int) -> str:
        """Send an event of a transaction, and return its id."""
        event = json.loads(example())
        event["eventID"] = f"metadata.ingest.{transaction}"
        event["data"][0]["value"] = transaction
        response = self.service.call("POST", "/receive", body=event)
        assert response.status_code == 200, response.text
        return response.text

    def screens(self) -> dict[str, tuple[str, str]]:
        """Return the paths of the screens, and who reads them, by names."""
        good, failing = f"subscriptions/{self.good}", f"subscriptions/{self.failing}"
        first = self.events[TRANSACTIONS[0]]
        owned = {
            "deliveries": f"{good}/deliveries",
            "delivery": f"{failing}/deliveries/{self.delivery_of(self.failing)}",
            "held": f"{failing}/deliveries?state=held",
            "filtered": f"{good}/deliveries?state=failed&from=2020-01-01T00:00",
            "wrong-filter": f"{good}/deliveries?from=soon",
            "no-deliveries": f"subscriptions/{self.nearly}/deliveries",
            "replay": f"{good}/replay",
            "try": f"{good}/test",
            "why-empty": "why",
            "why-unknown": "why?event=9",
            "why-all": f"why?event={TRANSACTIONS[0]}",
            "why": f"why?event={first}&subscription={self.nearly}",
            "workbench-event": f"workbench?event={first}&jsonpath=data",
        }
        operated = {
            "operators": "operators",
            "operators-user": f"operators/subscriptions?user={OWNER}",
            "audit": "operators/audit",
        }
        return {name: (path, OWNER) for name, path in owned.items()} | {
            name: (path, OPERATOR) for name, path in operated.items()
        }

    def delivery_of(self, subscription: str) -> str:
        """Return the id of the newest delivery of a subscription of OWNER."""
        path = f"/eventmatch/{subscription}/deliveries?limit=1"
        return str(self.service.call("GET", path, OWNER).json()["items"][0]["uuid"])

    def settle(self) -> None:
        """Wait until nothing is under way."""
        database = self.service.environment["PEEWEE_URL"]
        eventually(lambda: databases.execute(database, _UNDER_WAY)[0][0] == 0, 30)


@contextmanager
def whole_page(
    folder: Path, fill: Callable[[str, str, str], None] | None = None
) -> Iterator[WholePage]:
    """Run a service with a worker, to which some events came.

    `fill` writes into its database before: it is given its URL, OWNER and the target's URL.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        RecordingServer(_verdict) as policy,
        RecordingServer(_answer) as target,
        prepared(
            Deployment("sqlite", "filesystem"), folder, **_SETTINGS, POLICY_URL=policy.url
        ) as deployed,
        _filled(deployed.database, target, fill),
        running(deployed.environment, folder) as service,
        deployed.worker(),
    ):
        page = WholePage(service, target, policy)
        page.good = page.subscribed("good", "Text files", FILES)
        page.nearly = page.subscribed("good", "Instrument 54 as text", TEXT)
        page.failing = page.subscribed("bad", "Mass spectrometer", NUMBER)
        for transaction in TRANSACTIONS:
            page.events[transaction] = page.receive(transaction)
        page.settle()
        yield page


@contextmanager
def _filled(
    database: str, target: RecordingServer, fill: Callable[[str, str, str], None] | None
) -> Iterator[None]:
    if fill is not None:
        fill(database, OWNER, target.url)
    yield


def _verdict(asked: Received) -> tuple[int, dict[str, str], bytes]:
    if asked.method == "GET":
        return 200, {}, b'[{"_id": 10}]'
    data: list[dict[str, Any]] = json.loads(asked.body)["data"]
    return (412 if data[0]["value"] == DENIED else 200), {}, b"{}"


def _answer(received: Received) -> tuple[int, dict[str, str], bytes]:
    if received.path == "/odd":
        return 200, {"Content-Type": "text/html", "X-Odd": "<b>"}, ODD.encode()
    if received.path == "/bad":
        return 503, {"Content-Type": "text/plain"}, SAID.encode()
    return 200, {"Content-Type": "application/json"}, b'{"taken": true}'
