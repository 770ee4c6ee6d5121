"""Replays: a subscription's deliveries of a period are made again, some at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, Self
from uuid import UUID

from pacifica.notifications.errors import PolicyUnavailable
from pacifica.notifications.events import Event, summary
from pacifica.notifications.flow import State
from pacifica.notifications.stages.expressions import Expressions
from pacifica.notifications.stages.period import Period
from pacifica.notifications.stages.visibility import Visibility
from pacifica.notifications.stages.walk import (
    allowed,
    position_read,
    position_written,
    walk,
)
from pacifica.notifications.store.jobs import ClaimedJob, record_progress
from pacifica.notifications.store.position import Position
from pacifica.notifications.store.replaying import (
    FormerJsonpath,
    Replayed,
    former_jsonpaths,
    has_live_waiting,
    has_replayed_under_way,
    replay,
    replayed,
)
from pacifica.notifications.store.walking import (
    FAILED_STATES,
    UNDER_WAY,
    Walked,
    next_events_for,
    next_failed,
)

#: A replay ends when it has made so many deliveries, or looked at so many events.
MAX_DELIVERIES: Final = 100_000
MAX_EVENTS: Final = 1_000_000
# Seconds: what is live and due for longer goes first.
_MOMENT = 1.0
# Seconds before it is looked again whether the last deliveries are finished, whether live ones
# still wait, whether Policy answers, and whether the subscription is enabled again.
_BATCH_WAIT, _LIVE_WAIT, _POLICY_WAIT, _DISABLED_WAIT = 0.3, 1.0, 2.0, 5.0
# Seconds of rest for each delivery of a slice, up to the wait of a batch. The next slice comes when
# fewer than so many are under way: where few events match, each would wait for the one before.
_DELIVERY_WAIT, _MANY_UNDER_WAY = 0.015, 5


class ReplayMode(StrEnum):
    """Which deliveries are made again."""

    FAILED = "failed"  # those that were given up
    MISSING = "missing"  # those that no record is of
    ALL = "all"  # both, and those that arrived


class Matching(StrEnum):
    """By which JSONPath of the subscription events match."""

    THEN = "then"
    NOW = "now"


#: What is made again of what is on record. One that was denied is as if it had never been.
MODE_STATES: dict[ReplayMode, tuple[State, ...]] = {
    ReplayMode.FAILED: FAILED_STATES,
    ReplayMode.MISSING: (State.DENIED,),
    ReplayMode.ALL: (State.DELIVERED, State.DENIED, *FAILED_STATES),
}
#: The states of what was made and is finished.
REPLAYED_STATES: Final = (State.DELIVERED, *FAILED_STATES)


@dataclass(frozen=True)
class ReplayRequest:
    """What is to be replayed; None: whatever it is.

    `state` and `status`, the first digit of it, are those of a delivery on record, and `type` is
    that of the event.
    """

    period: Period
    mode: ReplayMode
    match: Matching
    dry_run: bool
    state: State | None = None
    type: str | None = None
    status: str | None = None

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Self:
        """Return what a job's request says."""
        return cls(
            Period.read(written),
            ReplayMode(written["mode"]),
            Matching(written["match"]),
            written["dry_run"],
            State(written["state"]) if written.get("state") else None,
            written.get("type"),
            written.get("status"),
        )

    @property
    def states(self) -> tuple[State, ...]:
        """The states of deliveries on record that are made again."""
        if self.state is not None:
            return (self.state,)
        states = MODE_STATES[self.mode]
        return (
            states
            if self.adds_missing
            else tuple(each for each in states if each in REPLAYED_STATES)
        )

    @property
    def adds_missing(self) -> bool:
        """Whether also events are sent that no delivery is on record of."""
        return self.mode is not ReplayMode.FAILED and self.state is None and self.status is None


@dataclass(frozen=True)
class ReplayProgress:
    """How far a replay is; `looked` is for its bound and for nobody to see.

    `stopped` is the bound or the reason that ended it; empty: none did.
    """

    position: Position | None = None
    looked: int = 0
    deliveries: int = 0
    stopped: str = ""
    waits_for: str = ""

    @classmethod
    def read(cls, written: Mapping[str, Any]) -> Self:
        """Return what a job's progress says."""
        if not written:
            return cls()
        return cls(**{**written, "position": position_read(written["position"])})

    def written(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "position": position_written(self.position)}


class Replayer:
    """Goes on with replays; `nudge_policy` is called with the events that Policy is asked about."""

    def __init__(
        self,
        expressions: Expressions,
        visibility: Visibility,
        nudge_policy: Callable[[Sequence[UUID]], None],
    ) -> None:
        self._expressions = expressions
        self._visibility = visibility
        self._nudge_policy = nudge_policy

    def advance(self, claimed: ClaimedJob) -> None:
        """Go on for a moment, and store how far it is; raises StoreUnavailable."""
        request = ReplayRequest.read(claimed.job.request)
        before = ReplayProgress.read(claimed.job.progress)
        uuid = claimed.job.subscription
        subscription = None if uuid is None else replayed(uuid)
        if uuid is None or subscription is None or subscription.is_deleted:
            ended = replace(before, stopped="deleted", waits_for="")
            record_progress(claimed, ended.written(), None, failed=True)
            return
        waits_for, seconds = _wait(request, uuid, subscription)
        if waits_for:
            waiting = replace(before, waits_for=waits_for)
            record_progress(claimed, waiting.written(), seconds)
            return
        self._go_on(claimed, request, before, uuid, subscription)

    def _go_on(
        self,
        claimed: ClaimedJob,
        request: ReplayRequest,
        before: ReplayProgress,
        uuid: UUID,
        subscription: Replayed,
    ) -> None:
        user, period = claimed.job.user, request.period
        former = former_jsonpaths(uuid) if request.match is Matching.THEN else ()
        found = walk(
            lambda after: (
                next_failed(uuid, period.start, period.end, after)
                if request.mode is ReplayMode.FAILED
                else next_events_for(uuid, user, period.start, period.end, after)
            ),
            lambda walked: self._judged(request, subscription, former, walked),
            before.position,
            MAX_EVENTS - before.looked,
        )
        try:
            may_see = allowed(self._visibility, user, found)
        except PolicyUnavailable:
            waiting = replace(before, waits_for="policy")
            record_progress(claimed, waiting.written(), _POLICY_WAIT)
            return
        chosen = may_see[: MAX_DELIVERIES - before.deliveries]
        looked = before.looked + found.looked
        after = replace(before, position=found.position, looked=looked, waits_for="")
        if looked >= MAX_EVENTS and not found.is_over:
            after = replace(after, stopped="events")

        def progress_for(count: int) -> tuple[dict[str, Any], float | None]:
            deliveries = before.deliveries + count
            progress = replace(after, deliveries=deliveries)
            if deliveries >= MAX_DELIVERIES or len(chosen) < len(may_see):
                last = chosen[-1].walked.position if chosen else before.position
                progress = replace(progress, position=last, stopped="deliveries")
            is_over = found.is_over or progress.stopped
            wait = 0.0 if request.dry_run else min(count * _DELIVERY_WAIT, _BATCH_WAIT)
            return progress.written(), None if is_over else wait

        if request.dry_run or not chosen:
            record_progress(claimed, *progress_for(len(chosen)))
            return
        events = replay(
            claimed,
            [each.walked.event.uuid for each in chosen],
            request.states,
            missing=request.adds_missing,
            progress_for=progress_for,
        )
        self._nudge_policy(events)

    def _judged(
        self,
        request: ReplayRequest,
        subscription: Replayed,
        former: Sequence[FormerJsonpath],
        walked: Walked,
    ) -> bool | None:
        """Return True if an event is replayed, as far as Policy allows it."""
        on_record = tuple((walked.on_record or {}).values())
        if not (walked.is_shown and walked.is_settled) or any(
            each.state in UNDER_WAY for each in on_record
        ):
            return None
        fitting = [each for each in on_record if each.state in request.states]
        if not fitting and (on_record or not request.adds_missing):
            return None
        if request.status is not None and not fitting[-1].status.startswith(request.status):
            return None
        if request.type is not None and _type_of(walked.event) != request.type:
            return None
        if request.match is Matching.NOW:
            jsonpath: str | None = subscription.jsonpath
        elif on_record:
            return True
        else:
            jsonpath = former_jsonpath(former, walked)
        if jsonpath is None:
            return None
        (matches,) = self._expressions.match(walked.event, [jsonpath])
        return True if matches else None


def _type_of(event: Event) -> str:
    try:
        return summary(event.document()).type
    except (ValueError, RecursionError, AttributeError):
        return ""


def former_jsonpath(former: Sequence[FormerJsonpath], walked: Walked) -> str | None:
    """Return what a subscription's JSONPath was for an event; None: it did not exist."""
    for each in former:
        if walked.revision is None:
            is_former = each.changed <= walked.position.created
        else:
            is_former = each.revision <= walked.revision
        if is_former:
            return None if each.is_deleted else each.jsonpath
    return None


def _wait(request: ReplayRequest, uuid: UUID, subscription: Replayed) -> tuple[str, float]:
    """Return what a replay waits for, and how long before it looks again; empty: for nothing."""
    if request.dry_run:
        return "", 0.0
    if subscription.is_disabled:
        return "subscription", _DISABLED_WAIT
    if has_replayed_under_way(uuid, _MANY_UNDER_WAY):
        return "deliveries", _BATCH_WAIT
    if has_live_waiting(_MOMENT):
        return "other_events", _LIVE_WAIT
    return "", 0.0
