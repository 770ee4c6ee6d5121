"""Tells systemd how this process is, by the protocol of sd_notify(3)."""

import math
import os
import socket
import time
from contextlib import suppress

_TIMEOUT = 1.0  # seconds


def notify(state: str) -> None:
    """Send a state, such as `READY=1`, if systemd started this process and waits for states.

    A socket that cannot be used is ignored: systemd itself ends a service that it does not hear.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        abstract = "\0" + address[1:] if address.startswith("@") else address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.settimeout(_TIMEOUT)
            sending.sendto(state.encode(), abstract)


class Watchdog:
    """Tells systemd that this process works, twice in the time after which it would be killed."""

    def __init__(self) -> None:
        limit = os.environ.get("WATCHDOG_USEC", "")
        is_mine = os.environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
        #: Seconds between two messages; infinite if systemd does not watch this process.
        self.interval = int(limit) / 2e6 if limit.isdecimal() and is_mine else math.inf
        self._due = 0.0 if self.interval < math.inf else math.inf

    def feed(self) -> None:
        """Send a message if one is due; called wherever progress shows."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self.interval
            notify("WATCHDOG=1")
