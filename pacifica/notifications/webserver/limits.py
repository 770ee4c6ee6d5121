"""How long clients of the web server may take, and how much is kept for them."""

from dataclasses import dataclass
from enum import Enum, auto


class Stage(Enum):
    """What a connection is doing, and so how long it may take."""

    IDLE = auto()  # nothing of a request has arrived
    HEAD = auto()
    BODY = auto()
    ANSWERING = auto()  # the request is complete, and ours to answer
    SENDING = auto()  # the client has not taken all of its answer
    CLOSING = auto()  # all is sent; to close at once could take the answer from the client


#: How long a client may take to read its last answer and close (seconds).
LINGER = 2.0


@dataclass(frozen=True)
class Limits:
    """The bounds of a web server, in seconds and bytes.

    `held` bytes are kept for all connections together.
    """

    body: int
    held: int = 256 * 2**20
    head: int = 64 * 2**10
    threads: int = 16
    connections: int = 1000
    backlog: int = 512
    header_timeout: float = 10.0
    body_timeout: float = 60.0
    idle_timeout: float = 10.0
    shutdown_timeout: float = 5.0

    def allowed(self, stage: Stage) -> float:
        """Return how long a connection may stay in a stage (seconds)."""
        return {
            Stage.IDLE: self.idle_timeout,
            Stage.HEAD: self.header_timeout,
            Stage.BODY: self.body_timeout,
            Stage.SENDING: self.body_timeout,
            Stage.CLOSING: LINGER,
        }.get(stage, float("inf"))
