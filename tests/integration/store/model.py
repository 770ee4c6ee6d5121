"""What is to become of events and their deliveries, in as few words as there are.

The store is held against this. Times are not kept: something is due now, later or never.
"""

from dataclasses import dataclass, field
from enum import Enum, auto
from uuid import UUID

from pacifica.notifications.flow import Cause, Delivery, State

UNDER_WAY = (State.MATCHED, State.ALLOWED)
OPEN = (*UNDER_WAY, State.HELD)


class Due(Enum):
    """When something is to be done, as far as the model goes."""

    NOW = auto()
    LATER = auto()
    NEVER = auto()


@dataclass
class Subscriber:
    """A subscription; `changes` stands for its revision."""

    disabled: bool = False
    holding: bool = False
    unmatched: bool = False
    deleted: bool = False
    held_due: Due = Due.NEVER
    probes: int = 0
    probe: UUID | None = None
    changes: int = 0

    @property
    def is_matched(self) -> bool:
        return not self.deleted and not self.unmatched and (not self.disabled or self.holding)

    @property
    def is_waited_for(self) -> bool:
        return not self.deleted and self.unmatched

    def release(self) -> None:
        self.probe, self.probes, self.held_due = None, 0, Due.NOW


@dataclass
class Received:
    """An event; it is dispatched once it is never due."""

    due: Due = Due.NOW
    attempts: int = 0


@dataclass
class Match:
    """A delivery."""

    event: UUID
    subscription: UUID
    state: State = State.MATCHED
    due: Due = Due.NOW
    attempts: int = 0
    #: The number of the claim of whom may be sending it, and whether its lease is over.
    claim: int = 0
    leased: Due = Due.NEVER
    cause: Cause = Cause.AUTOMATIC

    def go(self, state: State, due: Due = Due.NEVER) -> None:
        self.state, self.due, self.attempts = state, due, 0
        if state not in OPEN:
            self.leased = Due.NEVER


@dataclass
class Model:
    """Everything there is; `matches` are in the order of their creation."""

    released_at_once: int
    subscribers: dict[UUID, Subscriber] = field(default_factory=dict)
    events: dict[UUID, Received] = field(default_factory=dict)
    matches: dict[UUID, Match] = field(default_factory=dict)
    #: Pairs of an event and a subscription that it is matched with later, all of one user.
    deferred: list[tuple[UUID, UUID, Due]] = field(default_factory=list)
    #: When the replay goes on; there is one at a time.
    replay_due: Due = Due.NEVER

    @property
    def able(self) -> list[UUID]:
        """The subscriptions that can be replayed."""
        alive = {uuid: each for uuid, each in self.subscribers.items() if not each.deleted}
        return [uuid for uuid, each in alive.items() if not each.disabled]

    def due_events(self, *, suspect: bool) -> list[UUID]:
        return [
            uuid
            for uuid, event in self.events.items()
            if event.due is Due.NOW and (event.attempts >= 2) is suspect
        ]

    def in_state(self, state: State) -> list[UUID]:
        return [uuid for uuid, match in self.matches.items() if match.state is state]

    def held(self, subscription: UUID) -> list[UUID]:
        return [u for u in self.in_state(State.HELD) if self._is_of(u, subscription)]

    def let_time_pass(self) -> None:
        self.replay_due = Due.NOW if self.replay_due is Due.LATER else self.replay_due
        for each in (*self.events.values(), *self.matches.values()):
            each.due = Due.NOW if each.due is Due.LATER else each.due
        for match in self.matches.values():
            match.leased = Due.NOW if match.leased is Due.LATER else match.leased
        for subscriber in self.subscribers.values():
            if subscriber.held_due is Due.LATER:
                subscriber.held_due = Due.NOW

    def record(
        self,
        event: UUID,
        asked: dict[UUID, tuple[UUID, str]],
        disabled: list[tuple[UUID, UUID]],
        unmatched: list[UUID],
        max_claimed: int,
    ) -> tuple[list[UUID], list[UUID]]:
        """End an event's dispatch, unless that was done, with Policy's verdicts.

        `asked` is a subscription and a verdict for each delivery, and `disabled` are deliveries to
        disabled subscriptions. The event waits for those that are `unmatched`. Returns what the
        caller has to send, and what somebody has to.
        """
        received = self.events.get(event)
        if received is None or received.due is Due.NEVER:
            return [], []
        received.due = Due.NEVER
        claimed: list[UUID] = []
        unclaimed: list[UUID] = []
        for uuid, (subscription, verdict) in asked.items():
            match = self.matches[uuid] = Match(event, subscription)
            if verdict == "allow" and len(claimed) < max_claimed:
                match.go(State.ALLOWED, Due.LATER)
                match.attempts, match.leased, match.claim = 1, Due.LATER, 1
                claimed.append(uuid)
            elif verdict == "allow":
                match.go(State.ALLOWED, Due.NOW)
                unclaimed.append(uuid)
            elif verdict == "deny":
                match.go(State.DENIED)
            elif verdict == "unknown":
                match.due, match.attempts = Due.LATER, 1
        for uuid, subscription in disabled:
            self.matches[uuid] = Match(event, subscription)
        self.deferred += [(event, uuid, Due.NEVER) for uuid in unmatched]
        if any(self.subscribers[uuid].is_matched for uuid in unmatched):
            self._release_deferred()
        return claimed, unclaimed

    def hold_dispatched(self, held: list[Delivery], disabled: list[UUID], probed: Due) -> None:
        """Hold what Policy gave no verdict on, and what is of disabled subscriptions."""
        for delivery in held:
            self._hold_for_policy(delivery, probed)
        for uuid in disabled:
            if uuid in self.matches and self.subscribers[self.matches[uuid].subscription].disabled:
                self._hold_one(uuid)

    def match_deferred(self) -> list[tuple[UUID, UUID]]:
        """Match what is due with all that is enabled; returns the pairs that match."""
        due = [pair for pair in self.deferred if pair[2] is Due.NOW]
        self.deferred = [pair for pair in self.deferred if pair[2] is not Due.NOW]
        self.deferred += [
            (event, uuid, Due.NEVER)
            for event, uuid, _due in due
            if self.subscribers[uuid].is_waited_for
        ]
        return [(event, uuid) for event, uuid, _due in due if self.subscribers[uuid].is_matched]

    def still_deliverable(self, claimed: list[UUID]) -> list[UUID]:
        """Look at the subscriptions of what was claimed once more, since some were changed."""
        deliverable = []
        for uuid in claimed:
            match = self.matches[uuid]
            subscriber = self.subscribers[match.subscription]
            if subscriber.deleted:
                match.go(State.DROPPED)
            elif subscriber.disabled:
                match.leased = Due.NEVER
                self._hold_one(uuid)
            else:
                deliverable.append(uuid)
        return deliverable

    def claim(self, state: State, uuids: list[UUID]) -> set[UUID]:
        """Claim what is due; returns what the claimer gets, without what must not be delivered."""
        claimed = [
            u for u in uuids if self.matches[u].state is state and self.matches[u].due is Due.NOW
        ]
        for uuid in claimed:
            self.matches[uuid].attempts += 1
            self.matches[uuid].due = Due.LATER
            if state is State.ALLOWED:
                self.matches[uuid].leased = Due.LATER
                self.matches[uuid].claim += 1
        deliverable = set()
        for uuid in claimed:
            match = self.matches[uuid]
            subscriber = self.subscribers[match.subscription]
            if subscriber.deleted:
                match.go(State.DROPPED)
            elif subscriber.disabled and subscriber.probe != uuid:
                if state is State.ALLOWED:
                    match.leased = Due.NEVER
                self._hold_one(uuid)
            else:
                deliverable.add(uuid)
        return deliverable

    def disable(
        self, subscription: UUID, *, recovers: bool = False, unmatched: bool = False
    ) -> None:
        subscriber = self.subscribers[subscription]
        if unmatched and subscriber.holding:
            subscriber.unmatched, subscriber.held_due, subscriber.probes = True, Due.NEVER, 0
            subscriber.probe = None
            subscriber.changes += 1
        if subscriber.disabled or subscriber.deleted:
            return
        subscriber.disabled, subscriber.holding, subscriber.unmatched = True, True, unmatched
        subscriber.held_due, subscriber.probes = (Due.LATER, 1) if recovers else (Due.NEVER, 0)
        subscriber.probe = None
        subscriber.changes += 1
        self._hold(subscription)

    def release_or_probe(self, subscription: UUID) -> None:
        subscriber = self.subscribers[subscription]
        held = self.held(subscription)
        if subscriber.probes == 0:
            self._take_up(held[: self.released_at_once])
            more = len(held) >= self.released_at_once
            subscriber.held_due = Due.NOW if more else Due.NEVER
            return
        probe = self.matches.get(subscriber.probe) if subscriber.probe else None
        if probe is None or probe.state not in UNDER_WAY:
            self._take_up(held[:1])
            subscriber.probe = held[0] if held else None
        if subscriber.probe is None and not subscriber.disabled:
            subscriber.probes, subscriber.held_due = 0, Due.NEVER
        else:
            subscriber.probes += 1
            subscriber.held_due = Due.LATER

    def rule(self, verdict: str, delivery: Delivery) -> None:
        """Take Policy's answer, which may come after others have had theirs."""
        match = self.matches[delivery.uuid]
        subscriber = self.subscribers[match.subscription]
        if verdict == "hold":
            self._hold_for_policy(delivery, Due.LATER)
        elif match.state is State.MATCHED:
            if verdict == "allow":
                match.go(State.ALLOWED, Due.NOW)
            elif verdict == "deny":
                match.go(State.DENIED)
            elif match.attempts == delivery.attempts:
                match.due = Due.LATER
        is_probe = delivery.probe and subscriber.probe == delivery.uuid
        if not is_probe or verdict not in ("allow", "deny"):
            return
        if not subscriber.disabled:
            subscriber.release()
        elif verdict == "deny":
            subscriber.probe, subscriber.held_due = None, Due.NOW
            subscriber.probes = max(subscriber.probes - 1, 1)

    def answer(self, answer: str, delivery: Delivery, claim: int, changes: int) -> None:
        """Take a target's answer to what was sent with that claim.

        `changes` is the subscriber's when the delivery was claimed.
        """
        match = self.matches[delivery.uuid]
        subscriber = self.subscribers[match.subscription]
        is_probe = delivery.probe and subscriber.probe == delivery.uuid
        if answer == "2xx":
            match.go(State.DELIVERED)
            if is_probe:
                if subscriber.disabled:
                    subscriber.disabled = subscriber.holding = False
                    subscriber.changes += 1
                subscriber.release()
            return
        is_last_claim = match.claim == claim and match.leased is not Due.NEVER
        if is_last_claim and match.state is State.ALLOWED:
            match.due = Due.LATER if answer in ("again", "busy") else Due.NOW
            match.attempts = delivery.attempts - (answer == "busy")
        if is_last_claim and match.state in (State.ALLOWED, State.HELD):
            match.leased = Due.NEVER
        if answer in ("again", "busy"):
            return
        if is_probe and subscriber.disabled:
            subscriber.probe = None
            if answer == "refusal":
                subscriber.held_due, subscriber.probes = Due.NEVER, 0
            self._hold(match.subscription)
        elif subscriber.disabled:
            self._hold_one(delivery.uuid)
        elif changes == subscriber.changes:
            self.disable(match.subscription, recovers=answer == "outage")

    def own(self, change: str, subscription: UUID) -> None:
        """Take what an owner does: enable, disable, rename or delete."""
        subscriber = self.subscribers[subscription]
        if subscriber.deleted:
            return
        subscriber.changes += 1
        if change == "delete":
            subscriber.deleted, subscriber.held_due = True, Due.NEVER
            for match in self.matches.values():
                if match.subscription == subscription and match.state in OPEN:
                    match.go(State.DROPPED)
            return
        if change != "rename":
            if subscriber.disabled and change == "enable":
                self._release_deferred()
            subscriber.disabled, subscriber.holding = change == "disable", False
            subscriber.unmatched = False
        if not subscriber.disabled:
            subscriber.release()
        elif change == "disable":
            subscriber.probe, subscriber.probes, subscriber.held_due = None, 0, Due.NEVER

    def send_again(self, uuid: UUID, cause: Cause) -> None:
        """Begin a delivery anew, after the lease of whoever may be sending it."""
        self._take_up([uuid])
        self.matches[uuid].cause = cause

    def replay(
        self, subscription: UUID, events: list[UUID], states: tuple[State, ...], missing: bool
    ) -> tuple[list[UUID], list[UUID]]:
        """Replay events; returns those of which a delivery is made again, and which get one."""
        again, absent = [], []
        waiting = {event for event, uuid, _due in self.deferred if uuid == subscription}
        for event in events:
            received = self.events.get(event)
            if received is None or received.due is not Due.NEVER:
                continue
            found = {
                uuid: match
                for uuid, match in self.matches.items()
                if (match.event, match.subscription) == (event, subscription)
            }
            fitting = [uuid for uuid, match in found.items() if match.state in states]
            if not found and missing and event not in waiting:
                absent.append(event)
            elif fitting and not any(match.state in OPEN for match in found.values()):
                self.send_again(fitting[-1], Cause.REPLAY)
                again.append(event)
        return again, absent

    def expire(self, max_held: int) -> int:
        over = [
            uuid
            for subscription in self.subscribers
            for uuid in self.held(subscription)[: -max_held or None]
        ]
        for uuid in over:
            self.matches[uuid].go(State.EXPIRED)
        return len(over)

    def purge(self, event: UUID) -> None:
        del self.events[event]
        self.matches = {u: match for u, match in self.matches.items() if match.event != event}
        self.deferred = [pair for pair in self.deferred if pair[0] != event]

    def _hold_for_policy(self, delivery: Delivery, probed: Due) -> None:
        subscriber = self.subscribers[delivery.subscription.uuid]
        if not (subscriber.disabled or subscriber.deleted or subscriber.probes):
            subscriber.probe, subscriber.probes, subscriber.held_due = None, 1, probed
        match = self.matches.get(delivery.uuid)
        if match is not None and match.state is State.MATCHED:
            match.go(State.HELD)

    def _hold(self, subscription: UUID) -> None:
        for uuid, match in self.matches.items():
            if match.subscription == subscription:
                self._hold_one(uuid)

    def _hold_one(self, uuid: UUID) -> None:
        match = self.matches[uuid]
        subscriber = self.subscribers[match.subscription]
        if match.state in UNDER_WAY and uuid != subscriber.probe:
            match.go(State.DROPPED if subscriber.deleted else State.HELD)

    def _release_deferred(self) -> None:
        self.deferred = [(event, uuid, Due.NOW) for event, uuid, _due in self.deferred]

    def _take_up(self, uuids: list[UUID]) -> None:
        for uuid in uuids:
            leased = self.matches[uuid].leased is Due.LATER
            self.matches[uuid].go(State.MATCHED, Due.LATER if leased else Due.NOW)

    def _is_of(self, uuid: UUID, subscription: UUID) -> bool:
        return self.matches[uuid].subscription == subscription
