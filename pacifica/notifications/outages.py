"""Says when something that the service needs fails, why, and when it works again."""

import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from logging import Logger

# Seconds between two lines about an outage that goes on.
_INTERVAL = 60.0
# How many outages are told in an interval. Of what fails and works in turns, more are only counted.
_MAX_TOLD = 5


class Outage:
    """The outages of one part, which any threads report.

    A line is written when one begins, with its cause, a line a minute while it goes on, with the
    number of failures, and a line when it ends, with its length.
    """

    def __init__(self, log: Logger, part: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._part = part
        self._clock = clock
        self._lock = threading.Lock()
        self._began: float | None = None
        self._told_at: float | None = None  # None: nothing was told of this outage
        self._failures = 0
        self._untold = 0
        self._beginnings: deque[float] = deque(maxlen=_MAX_TOLD)

    def failed(self, cause: str) -> None:
        """Take note of a failure; `cause` is one line, without secrets."""
        with self._lock:
            now = self._clock()
            if self._began is None:
                self._began, self._told_at, self._failures = now, None, 0
            self._failures += 1
            self._untold += 1
            if self._told_at is None:
                self._tell_beginning(now, cause)
            elif now - self._told_at >= _INTERVAL:
                self._log.warning(
                    "%s still fails after %.0f s, %d times since the last line: %s",
                    self._part,
                    now - self._began,
                    self._untold,
                    cause,
                )
                self._told_at, self._untold = now, 0

    def worked(self) -> None:
        """Take note that the part works."""
        if self._began is None:  # without the lock, because it is called for each success
            return
        with self._lock:
            if self._began is not None and self._told_at is not None:
                self._log.warning(
                    "%s works again after %.1f s and %d failures",
                    self._part,
                    self._clock() - self._began,
                    self._failures,
                )
                self._untold = 0
            self._began = None

    def _tell_beginning(self, now: float, cause: str) -> None:
        if len(self._beginnings) == _MAX_TOLD and now - self._beginnings[0] < _INTERVAL:
            return
        self._beginnings.append(now)
        counted = f" ({self._untold} times since the last line)" if self._untold > 1 else ""
        self._log.warning("%s fails: %s%s", self._part, cause, counted)
        self._told_at, self._untold = now, 0


def cause_of(error: BaseException) -> str:
    """Return why a connection failed, by the kinds of an error and its causes.

    Their messages are not shown, because they may repeat a URL with a password.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "host not found"
        if isinstance(cause, TimeoutError):
            return "time-out"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()
