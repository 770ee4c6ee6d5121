"""Waits for a service, up to a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

from .errors import ServiceError

# How many polls in a row may fail before the wait is given up.
FAILED_LOOKS = 30

_Found = TypeVar("_Found")


class Deadline:
    """A deadline, some seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The number of seconds left."""
        return max(0.0, self._end - time.monotonic())

    def require(self, service: str, task: str) -> None:
        """Raise ServiceError if the deadline has passed."""
        if self.left == 0:
            raise ServiceError(service, f"took more than {self._seconds:g} s to {task}")


def wait_for(
    look: Callable[[], _Found | None],
    poll: float,
    deadline: Deadline,
    late: Callable[[], tuple[str, str]],
) -> _Found:
    """Call `look` every `poll` seconds, and return its first result that is not None.

    After the deadline, raises ServiceError about the service and task that `late` returns. Short
    outages of the service are tolerated.
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
