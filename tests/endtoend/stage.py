"""The service with a Policy and a target in a test's hand, asked why events did not arrive."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from pacifica.notifications.reasons import Reason
from tests.endtoend.test_flow import embedded
from tests.support import databases
from tests.support.deployments import Service
from tests.support.servers import AnswerTriple, Received, RecordingServer, eventually

OPERATOR = "olga"
DENIED = (412, {}, b'{"status": "no"}')
AWAY = (500, {}, b"Metadata is down")
ALLOWED = (200, {}, b'{"status": "success"}')
TIMEOUT = 30


@dataclass
class Stage:
    """The service with a Policy and a target that a test tells what to answer."""

    service: Service
    policy: RecordingServer
    target: RecordingServer
    #: What Policy answers about an event of this id, in place of "yes".
    verdicts: dict[str, AnswerTriple | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.policy.answer = self._verdict

    def cleared(self) -> "Stage":
        """Delete all subscriptions, and have the target take everything."""
        for user in ("alice", "bob"):
            for each in json.loads(self.service.call("GET", "/eventmatch", user=user)[1]):
                self.service.call("DELETE", f"/eventmatch/{each['uuid']}", user=user)
        self.answers(lambda _: (200, {}, b"taken"))
        return self

    def answers(self, answer: Callable[[Received], AnswerTriple]) -> None:
        self.target.answer = answer

    def receive(self, id_: str | None = None, **more: Any) -> str:
        """Send an event, by default with an id of its own; returns the id."""
        event = {
            "cloudEventsVersion": "0.1",
            "eventType": "org.pacifica.metadata.ingest",
            "source": "http://metadata.test/transactions",
            "eventID": id_ or uuid4().hex,
            "data": [{"destinationTable": "Transactions._id", "value": 54}],
            **more,
        }
        self.service.receive(json.dumps(event).encode())
        return str(event["eventID"])

    def change(self, subscription: str, **body: Any) -> None:
        status, answer = self.service.call(
            "PUT", f"/eventmatch/{subscription}", json.dumps(body).encode()
        )
        assert status == 200, answer

    def ask(self, subscription: str, event: str, user: str = "alice") -> tuple[int, Any]:
        path = f"/eventmatch/{subscription}/explain/{quote(event, safe='')}"
        status, body = self.service.call("GET", path, user=user)
        return status, json.loads(body)

    def explanation(self, subscription: str, event: str, reason: Reason) -> dict[str, Any]:
        """Give the explanation once it has that reason."""
        last: list[Any] = []

        def has_reason() -> bool:
            last[:] = self.ask(subscription, event)
            return last[0] == 200 and last[1]["reason"] == reason

        try:
            eventually(has_reason, TIMEOUT)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from error
        return last[1]

    def pull(self, subscription: str, action: str = "", **body: Any) -> Any:
        """Fetch from a subscription, or say what became of what was fetched."""
        path = f"/eventmatch/{subscription}/pull{action}"
        status, answer = self.service.call("POST", path, json.dumps(body).encode())
        assert status == 200, answer
        return json.loads(answer)

    def resend(self, subscription: str, delivery: str) -> None:
        path = f"/eventmatch/{subscription}/deliveries/{delivery}/resend"
        assert self.service.call("POST", path)[0] == 202

    def why(self, event: str, subscription: str) -> dict[str, Any]:
        """Ask by the command line, which may ask about what was deleted."""
        return json.loads(self.service.command("why", event, subscription, "--json"))

    def is_dispatched(self) -> bool:
        return not databases.execute(
            self.service.database, "SELECT 1 FROM eventlog WHERE due IS NOT NULL"
        )

    def _verdict(self, asked: Received) -> AnswerTriple:
        if not asked.path.startswith("/events/"):  # whether it knows a user
            return 200, {}, b"[{}]"
        event = json.loads(asked.body)
        if event["source"] == "/notifications/nothing":  # the service asks whether Policy answers
            return DENIED
        told = self.verdicts.get(event.get("eventID", ""), ALLOWED)
        if isinstance(told, str):  # it hangs
            self.policy.over.wait(5)
            return AWAY
        return told


SETTINGS = {
    "RECEIVE_DEDUPLICATE": "3600",
    "MATCHING_BUDGET": "20000",
    "POLICY_TIMEOUT": "3",
    "CELERY_SWEEP_INTERVAL": "0.3",
    "PULL_ATTEMPTS": "3",
    "WEB_OPERATORS": OPERATOR,
    # Nobody is there; what is mailed once a day does not find out.
    "MAIL_SMTP_URL": "smtp://127.0.0.1:1",
    "MAIL_FROM": "notifications@data.example",
    "MAIL_BASE_URL": "https://notify.example",
    "MAIL_TRUSTED_DOMAINS": "trusted.example",
}


@contextmanager
def whole_service(folder: Path) -> Iterator[Stage]:
    """Run web server and worker for the block."""
    with (
        RecordingServer() as policy,
        RecordingServer() as target,
        embedded(folder, POLICY_URL=policy.url, **SETTINGS) as service,
        service.web_server(),
        service.worker(),
    ):
        yield Stage(service, policy, target)


Asked = dict[str, Any]


def delivered(stage: Stage, **subscription: Any) -> tuple[str, str, Asked]:
    """Have an event delivered; gives the subscription, the event, and its explanation."""
    uuid = stage.service.subscribe(stage.target.url, **subscription)
    event = stage.receive()
    return uuid, event, stage.explanation(uuid, event, Reason.DELIVERED)


def delivery_in(asked: Asked) -> str:
    return str(asked["steps"][-1]["delivery"])
