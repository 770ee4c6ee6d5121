"""Producers of numbered events, a target that counts them, and what became of them all."""

import http.client
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from tests.support.servers import AnswerTriple, Received, RecordingServer

PRODUCERS = 3
#: Seconds that a producer rests after each answer: more at once would wait for the workers.
REST = 0.25
#: Seconds after which a producer takes a request for unanswered; more than any promise.
TIMEOUT = 15
_JOIN = TIMEOUT + 5
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Posted:
    """What a producer got for one event; `status` is None where the request had no answer."""

    number: int
    status: int | None
    seconds: float
    retry_after: str | None = None


class Load:
    """Producers that post numbered events to `/receive` for the time of the block."""

    def __init__(self, port: int, producers: int = PRODUCERS) -> None:
        self.posted: list[Posted] = []
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._produce) for _ in range(producers)]

    @property
    def accepted(self) -> set[int]:
        """The numbers of the events for which the service has taken responsibility."""
        return {each.number for each in self.posted if each.status == 200}

    @property
    def answered(self) -> list[Posted]:
        return [each for each in self.posted if each.status is not None]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(_JOIN)

    def _produce(self) -> None:
        while not self._over.is_set():
            self.posted.append(post(self._port, next(_NUMBERS)))
            self._over.wait(REST)


def post(port: int, number: int) -> Posted:
    """Post one event, on a connection of its own, and never again."""
    began = time.monotonic()
    try:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as client:
            client.request("POST", "/receive", event(number), {"Content-Type": "application/json"})
            response = client.getresponse()
            response.read()
    except (OSError, http.client.HTTPException):
        return Posted(number, None, time.monotonic() - began)
    seconds = time.monotonic() - began
    return Posted(number, response.status, seconds, response.headers.get("Retry-After"))


def event(number: int) -> bytes:
    """Give an event that carries a number."""
    document = {
        "cloudEventsVersion": "0.1",
        "eventType": "org.pacifica.metadata.orm",
        "source": "http://metadata.pacifica.org/users",
        "eventID": f"metadata.orm.users.{number}",
        "eventTime": "2026-01-02T03:04:05",
        "extensions": {},
        "contentType": "application/json",
        "data": {"number": number},
    }
    return json.dumps(document).encode()


class CountingTarget(RecordingServer):
    """A target of several subscriptions, each with a path of its own.

    It counts what it took by path and number. Paths in `down` are answered 503, which takes
    nothing.
    """

    def __init__(self) -> None:
        super().__init__(self._take)
        self.taken: Counter[tuple[str, int]] = Counter()
        self.down: frozenset[str] = frozenset()
        self._counting = threading.Lock()

    def _take(self, received: Received) -> AnswerTriple:
        if received.path in self.down:
            return 503, {}, b"down"
        number = json.loads(received.body)["data"]["number"]
        with self._counting:
            self.taken[received.path, number] += 1
        return 200, {}, b""

    def times(self) -> dict[tuple[str, int], int]:
        """Give how often each event was taken at each path, as of this moment."""
        with self._counting:
            return dict(self.taken)


@dataclass(frozen=True)
class Tally:
    """What became of the events of a load, counted once for each subscription."""

    accepted: int = 0
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    slowest: float = 0.0
    statuses: Counter[Any] = field(default_factory=Counter)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.accepted + other.accepted,
            self.delivered + other.delivered,
            self.lost + other.lost,
            self.doubled + other.doubled,
            max(self.slowest, other.slowest),
            self.statuses + other.statuses,
        )

    def __str__(self) -> str:
        return (
            f"{self.accepted} accepted, {self.delivered} delivered, {self.lost} lost, "
            f"{self.doubled} doubled, slowest answer {self.slowest:.2f} s, "
            + ", ".join(f"{count} x {status}" for status, count in self.statuses.most_common())
        )


def missing(
    accepted: Collection[int], paths: Iterable[str], taken: dict[tuple[str, int], int]
) -> list[tuple[str, int]]:
    """Give what each path should have taken and has not."""
    return [(path, number) for path in paths for number in accepted if (path, number) not in taken]


def tally(load: Load, paths: Collection[str], taken: dict[tuple[str, int], int]) -> Tally:
    """Count what became of a load; a delivery that was made three times is doubled twice."""
    accepted = load.accepted
    lost = missing(accepted, paths, taken)
    sent = {each.number for each in load.posted}
    return Tally(
        accepted=len(accepted) * len(paths),
        delivered=len(accepted) * len(paths) - len(lost),
        lost=len(lost),
        doubled=sum(times - 1 for (_, number), times in taken.items() if number in sent),
        slowest=max((each.seconds for each in load.answered), default=0.0),
        statuses=Counter(each.status or "unanswered" for each in load.posted),
    )
