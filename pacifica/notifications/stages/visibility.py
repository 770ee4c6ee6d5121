"""Who may see which event now: Policy's verdicts, each of which is used for a minute.

The verdict that dispatch stored is history. Whoever reads about an event later, or has it sent
again, needs a new one.
"""

import json
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial
from itertools import chain
from typing import Final
from uuid import UUID, uuid5

from cachetools import TTLCache

from pacifica.notifications.errors import PolicyUnavailable
from pacifica.notifications.events import Event
from pacifica.notifications.policy import (
    Verdict,
    own_verdict,
    policy_body,
    verdict,
    verdict_request,
)
from pacifica.notifications.settings import POLICY_TURNS, PolicySettings
from pacifica.notifications.store.events import events_by_uuid, sizes_of
from pacifica.notifications.transport import (
    Request,
    Response,
    SendFailure,
    Transport,
    TransportBusy,
    TransportClosed,
)

# Seconds that a verdict is used, and how many verdicts are kept.
_MAX_AGE = 60.0
_MAX_KEPT = 50_000
# Bytes of events that are read at a time to ask about them; one event alone may have more.
_BYTES_AT_ONCE = 8 * 2**20
_EVENTS_AT_ONCE = 50
# An ingest that nobody may see, as it names no project: what is asked about an event that is not
# on record, and to find out whether Policy decides anything. Policy takes its usual way for it.
_NOTHING: Final = json.dumps(
    {
        "cloudEventsVersion": "0.1",
        "eventType": "org.pacifica.metadata.ingest",
        "source": "/notifications/nothing",
        "eventID": "nothing",
        "data": [
            {"destinationTable": "Transactions.submitter", "value": 0},
            {"destinationTable": "Transactions.project", "value": "-"},
            {"destinationTable": "Transactions.instrument", "value": -1},
        ],
    }
)
_NAMES: Final = UUID("5a7cc5e5-8d5c-4f0e-9d0b-64b1d4f34c5f")


class Visibility:
    """Tells which events a user may see, as Policy says now."""

    def __init__(self, url: str, settings: PolicySettings, transport: Transport) -> None:
        self._url = url
        self._settings = settings
        self._transport = transport
        self._lock = threading.Lock()
        self._kept: TTLCache[tuple[str, UUID], bool] = TTLCache(_MAX_KEPT, _MAX_AGE, time.monotonic)

    def allowed(self, user: str, events: Collection[UUID]) -> set[UUID]:
        """Return those of the events on record that a user may see.

        Raises PolicyUnavailable if Policy gives no verdict on one of them, and StoreUnavailable.
        """
        with self._lock:
            known = {uuid: self._kept[user, uuid] for uuid in events if (user, uuid) in self._kept}
        unknown = [uuid for uuid in events if uuid not in known]
        for some in _portions(unknown):
            known |= self._asked(user, list(events_by_uuid(some).values()))
        return {uuid for uuid, may_see in known.items() if may_see}

    def allows(self, user: str, event: Event) -> bool:
        """Return whether a user may see an event; raises PolicyUnavailable."""
        with self._lock:
            kept = self._kept.get((user, event.uuid))
        return self._asked(user, [event])[event.uuid] if kept is None else kept

    def require_policy(self, user: str) -> None:
        """Raise PolicyUnavailable unless Policy decides what the user may see.

        What was answered before is not used. Otherwise a response that needs no question, as there
        is nothing to ask about, would differ from others while Policy is away.
        """
        if not self._verdicts(user, [Event(_NAMES, _NOTHING, version="0.1")]):
            raise PolicyUnavailable

    def ask_about_nothing(self, user: str, name: str) -> None:
        """Do for what is not on record what `allowed` does for an event that the user may not see.

        So it takes as long. Raises PolicyUnavailable.
        """
        self.allows(user, Event(uuid5(_NAMES, name), _NOTHING, version="0.1"))

    def new_questions(self, user: str, events: Collection[UUID]) -> int:
        """Return about how many of the events Policy would be asked."""
        with self._lock:
            return sum((user, uuid) not in self._kept for uuid in events)

    def allowed_soon(self, user: str, events: Sequence[Event], seconds: float) -> set[UUID]:
        """Return those of a few events that a user may see, if Policy says so within some seconds.

        Raises PolicyUnavailable otherwise. What it says later is used by the next call.
        """
        self._verdicts(user, [each for each in events if each.owner is not None])
        with self._lock:
            unknown = [each for each in events if (user, each.uuid) not in self._kept]
        futures = [
            self._submitted(verdict_request(self._url, user, policy_body(each))) for each in unknown
        ]
        wait(futures, timeout=seconds)
        for event, future in zip(unknown, futures, strict=True):
            # At once where the answer is there.
            future.add_done_callback(partial(self._keep, user, event.uuid))
        with self._lock:
            known = {each.uuid: self._kept.get((user, each.uuid)) for each in events}
        if None in known.values():
            raise PolicyUnavailable
        return {uuid for uuid, may_see in known.items() if may_see}

    def _submitted(self, request: Request) -> Future[Response | SendFailure]:
        try:
            return self._transport.submit(request)
        except (TransportBusy, TransportClosed) as error:
            raise PolicyUnavailable from error

    def _keep(self, user: str, event: UUID, answered: Future[Response | SendFailure]) -> None:
        if answered.cancelled():
            return
        said = verdict(answered.result())
        if said is not Verdict.UNKNOWN:
            with self._lock:
                self._kept[user, event] = said is Verdict.ALLOW

    def _asked(self, user: str, events: Sequence[Event]) -> dict[UUID, bool]:
        """Ask Policy about events, and keep what it answers.

        Policy answers with an error also about an event that it cannot read. If it decides about
        others at the same time, nobody sees that event: the others are not withheld for it.
        """
        answered = self._verdicts(user, events)
        undecided = [each for each in events if each.uuid not in answered]
        if undecided:
            nothing = Event(_NAMES, _NOTHING, version="0.1")
            again = self._verdicts(user, [nothing, *undecided])
            if again.pop(_NAMES, None) is None:
                raise PolicyUnavailable
            answered |= {each.uuid: False for each in undecided} | again
        return answered

    def _verdicts(self, user: str, events: Sequence[Event]) -> dict[UUID, bool]:
        """Return the verdicts that Policy gives, which are kept; on some it may give none."""
        asked = [each for each in events if each.owner is None]
        results = self._results(
            [verdict_request(self._url, user, policy_body(each)) for each in asked]
        )
        answers = {event.uuid: each for event, each in zip(asked, results, strict=True)}
        verdicts = [verdict(own_verdict(each, user) or answers[each.uuid]) for each in events]
        answered = {
            event.uuid: each is Verdict.ALLOW
            for event, each in zip(events, verdicts, strict=True)
            if each is not Verdict.UNKNOWN
        }
        with self._lock:
            self._kept.update({(user, uuid): may_see for uuid, may_see in answered.items()})
        return answered

    def _results(self, requests: Sequence[Request]) -> list[Response | SendFailure]:
        futures = [self._submitted(each) for each in requests]
        wait(futures, timeout=POLICY_TURNS * self._settings.timeout)
        if any(future.cancel() for future in futures):
            raise PolicyUnavailable
        return [future.result() for future in futures]


def _portions(uuids: Sequence[UUID]) -> Iterator[list[UUID]]:
    """Divide events into portions that fit into memory together."""
    portion: list[UUID] = []
    size = 0
    for uuid, length in chain.from_iterable(
        sizes_of(uuids[start : start + _EVENTS_AT_ONCE]).items()
        for start in range(0, len(uuids), _EVENTS_AT_ONCE)
    ):
        if portion and (size + length > _BYTES_AT_ONCE or len(portion) == _EVENTS_AT_ONCE):
            yield portion
            portion, size = [], 0
        portion.append(uuid)
        size += length
    if portion:
        yield portion
