"""Waiting for what a service does, within bounds."""

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import ServiceError

# How many looks in a row may get no answer before the wait is given up.
FAILED_LOOKS = 30

_Found = TypeVar("_Found")


class Deadline:
    """When something must have been done: so many seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Return how many seconds are left."""
        return max(0.0, self._end - time.monotonic())

    def require(self, service: str, task: str) -> None:
        """Raise ServiceError if it has passed."""
        if self.left == 0:
            raise ServiceError(service, f"took more than {self._seconds:g} s to {task}")


def wait_for(
    look: Callable[[], _Found | None],
    poll: float,
    deadline: Deadline,
    late: Callable[[], tuple[str, str]],
) -> _Found:
    """Return what `look` finds, looking every `poll` seconds.

    Raises ServiceError past the deadline, of the service and its task that `late` returns. An
    outage of the service is waited out, unless it is a long one.
    """
    failed = 0
    while True:
        try:
            found = look()
            failed = 0
        except ServiceError as error:
            failed += 1
            if not error.is_passing or failed == FAILED_LOOKS:
                raise
            found = None
        if found is not None:
            return found
        deadline.require(*late())
        time.sleep(min(poll, deadline.left))
