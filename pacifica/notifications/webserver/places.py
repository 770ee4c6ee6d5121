"""Who waits for what, since when, and how many bytes are held for them: judged, not acted upon."""

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

if sys.platform != "win32":
    import resource

#: How long a client that was refused may take to read why, before it is hung up on (seconds).
LINGER = 2.0
# As many sockets as select() takes on Windows, but for some.
_MOST_ON_WINDOWS = 500

Client = TypeVar("Client")


class Stage(Enum):
    """What a connection that no thread has is waiting for."""

    IDLE = auto()  # another request, or none
    HEAD = auto()
    BODY = auto()
    LARGE = auto()  # a thread that may wait for the rest of its body
    SENDING = auto()  # the client, which reads its answer
    LEAVING = auto()  # the client's end, after ours


_HOLDING = (Stage.HEAD, Stage.BODY, Stage.LARGE, Stage.SENDING)


@dataclass(frozen=True)
class Bounds:
    """How long (seconds), how many and how large (bytes) what waits may be."""

    header_timeout: float
    body_timeout: float
    idle_timeout: float
    gathered: int
    connections: int
    held: int

    @property
    def allowed(self) -> Mapping[Stage, float]:
        """How long a client may stay in each stage (seconds)."""
        return {
            Stage.IDLE: self.idle_timeout,
            Stage.HEAD: self.header_timeout,
            Stage.BODY: self.body_timeout,
            Stage.LARGE: self.body_timeout,
            Stage.SENDING: self.body_timeout,
            Stage.LEAVING: LINGER,
        }


class Places(Generic[Client]):
    """The clients of a waiting room, each in one stage."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self._allowed = bounds.allowed
        self._most = bounds.connections
        self._most_held = bounds.held
        self._clock = clock
        self._waiting: dict[Stage, dict[Client, float]] = {stage: {} for stage in Stage}
        self._stages: dict[Client, Stage] = {}
        self._sizes: dict[Client, int] = {}
        self._held = 0

    def __len__(self) -> int:
        """Return how many clients wait."""
        return len(self._stages)

    def enter(self, client: Client, stage: Stage, size: int) -> None:
        """Put a client into a stage, with so many bytes; who is in it already stays as long."""
        if self._stages.get(client) is not stage:
            self.leave(client)
            self._stages[client] = stage
            self._waiting[stage][client] = self._clock()
        self._held += size - self._sizes.get(client, 0)
        self._sizes[client] = size

    def leave(self, client: Client) -> int:
        """Take a client out; returns how many bytes are held for it."""
        stage = self._stages.pop(client, None)
        if stage is not None:
            del self._waiting[stage][client]
        size = self._sizes.pop(client, 0)
        self._held -= size
        return size

    def stage_of(self, client: Client) -> Stage | None:
        """Return the stage that a client is in; None: it is not here."""
        return self._stages.get(client)

    def of(self, *stages: Stage) -> list[Client]:
        """Return who is in these stages, in each in the order in which they came."""
        return [client for stage in stages for client in self._waiting[stage]]

    def late(self) -> list[Client]:
        """Return who has been in their stage for longer than is allowed."""
        now = self._clock()
        found = []
        for stage, waiting in self._waiting.items():
            for client, since in waiting.items():
                if now - since < self._allowed[stage]:
                    break
                found.append(client)
        return found

    def surplus(self) -> Client | None:
        """Return who has waited longest while too many wait, or too much is held for them."""
        if len(self) > self._most:
            return self.longest_waiting()
        return self.longest_waiting(_HOLDING) if self._held > self._most_held else None

    def longest_waiting(self, stages: Iterable[Stage] = Stage) -> Client | None:
        """Return who has waited longest in some stages."""
        first = [next(iter(self._waiting[stage].items()), None) for stage in stages]
        client, _ = min(filter(None, first), key=lambda each: each[1], default=(None, 0.0))
        return client


def affordable(connections: int) -> int:
    """Leave half of the files that this process may have open to others, such as the database."""
    if sys.platform == "win32":
        return min(connections, _MOST_ON_WINDOWS)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return connections if files == resource.RLIM_INFINITY else min(connections, files // 2)
