"""Asks Pacifica Metadata whether it shows what events tell of, about many events at once."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from uuid import UUID

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.flow import Settlement
from pacifica.notifications.outages import Outage
from pacifica.notifications.settings import SettleSettings
from pacifica.notifications.settlement import (
    Answer,
    Step,
    answer_of,
    is_orm_event,
    next_step,
    question,
    request,
    step_without_question,
)
from pacifica.notifications.store.claims import release_lock, take_lock
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.settling import (
    SettlingEvent,
    claim_settling,
    next_settling,
    record_steps,
    stop_settling,
)
from pacifica.notifications.transport import (
    Response,
    SendFailure,
    SendResult,
    Transport,
    TransportBusy,
    TransportClosed,
)

_LOG = logging.getLogger(__name__)
_LOCK = "settle"
_NOT_ASKED = SendFailure("Metadata was too slow to be asked", 0.0, ours=True)
_TOO_SLOW = SendFailure("Metadata was too slow", 0.0)


class Settler:
    """Lets events go on once Metadata shows what they tell of; it never sleeps."""

    def __init__(
        self,
        settings: SettleSettings,
        max_bytes: int,
        transport: Transport,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._max_bytes = max_bytes
        self._transport = transport
        self._clock = clock
        self._is_failing = False
        self._away_until = 0.0
        self._outage = Outage(_LOG, "Metadata")

    def settle(self) -> list[UUID]:
        """Ask about events whose time has come; return those that are due to be dispatched.

        Takes no longer than the time-out, and a little to look at the database. One process at a
        time does so, so that a slow Metadata does not keep all of them waiting. Raises
        StoreUnavailable; what was not recorded is asked again when its lease ends.
        """
        if not take_lock(_LOCK, self._settings.lease):
            return []
        try:
            return self._settle()
        finally:
            # Before the caller looks when it is to go on: it does so for those who came meanwhile.
            with suppress(StoreUnavailable):
                release_lock(_LOCK)

    def _settle(self) -> list[UUID]:
        settings = self._settings
        events = claim_settling(settings.batch, self._max_bytes, settings.lease)
        if not events:
            return []
        questions = self._questions(events)
        answers = self._answers(questions)
        now = utcnow()
        steps = {
            each.uuid: next_step(each.settlement, answers[each.uuid], each.received, now, settings)
            if each.uuid in questions
            else step_without_question(each.received, now, settings)
            for each in events
        }
        self._tell_unsettled(events, steps)
        return record_steps(steps)

    def stop(self, limit: int) -> list[UUID]:
        """Let events go on that wait although the feature is off; raises StoreUnavailable."""
        return stop_settling(limit, self._settings.max_wait + self._settings.unsettled_horizon)

    @staticmethod
    def seconds_to_next() -> float | None:
        """Return in how many seconds Metadata is to be asked again; None: about nothing."""
        due = next_settling()
        return None if due is None else max((due - utcnow()).total_seconds(), 0.0)

    @staticmethod
    def _questions(events: Sequence[SettlingEvent]) -> dict[UUID, str]:
        """Return what is asked, by event; an event may have been purged a moment ago."""
        stored = events_by_uuid([each.uuid for each in events if is_orm_event(each.type)])
        found = {
            each.uuid: question(each.type, each.transaction, stored.get(each.uuid))
            for each in events
        }
        return {uuid: path for uuid, path in found.items() if path is not None}

    def _answers(self, questions: Mapping[UUID, str]) -> dict[UUID, Answer]:
        if not questions:
            return {}
        if self._clock() < self._away_until:
            return dict.fromkeys(questions, Answer.NONE)
        results = self._results(questions)
        answers = {uuid: answer_of(result) for uuid, result in results.items()}
        self._note_outage(list(results.values()))
        return answers

    def _note_outage(self, results: Sequence[SendResult]) -> None:
        """Take note whether Metadata answers; while it does not, it is asked rarely."""
        answers = {answer_of(result): result for result in results}
        if answers.keys() & {Answer.SHOWN, Answer.ABSENT}:
            self._outage.worked()
            self._is_failing = False
        elif Answer.NONE in answers:
            if self._is_failing:  # one failure may be the fault of one question
                self._away_until = self._clock() + self._settings.away_pause
            self._is_failing = True
            self._outage.failed(_cause(answers[Answer.NONE]))

    def _results(self, questions: Mapping[UUID, str]) -> dict[UUID, SendResult]:
        """Ask all at once, each question once, and wait within the time-out.

        What could not be asked in that time is asked later.
        """
        futures: dict[str, Future[SendResult]] = {}
        for path in questions.values():
            if path not in futures:
                try:
                    futures[path] = self._transport.submit(
                        request(self._settings.metadata_url, path)
                    )
                except (TransportBusy, TransportClosed):
                    break
        done, _late = wait(futures.values(), timeout=self._settings.timeout)
        for future in futures.values():
            future.cancel()
        results = {
            path: future.result() if future in done else _late_result(future)
            for path, future in futures.items()
        }
        return {uuid: results.get(path, _NOT_ASKED) for uuid, path in questions.items()}

    @staticmethod
    def _tell_unsettled(events: Sequence[SettlingEvent], steps: Mapping[UUID, Step]) -> None:
        became = Counter(
            steps[each.uuid].settlement
            for each in events
            if steps[each.uuid].settlement is not each.settlement
        )
        for settlement, what in (
            (
                Settlement.UNSETTLED,
                "are unsettled, and not dispatched: Metadata does not show what",
            ),
            (Settlement.EXPIRED, "expired, and are not dispatched: Metadata never showed what"),
        ):
            if became[settlement]:
                _LOG.warning("%d events %s they tell of", became[settlement], what)


def _late_result(future: Future[SendResult]) -> SendResult:
    """Return the result of a request that had not ended in time."""
    return _NOT_ASKED if future.cancelled() else _TOO_SLOW


def _cause(result: SendResult) -> str:
    return f"it answers {result.status}" if isinstance(result, Response) else result.reason
