"""Has a worker feed systemd's watchdog."""

import math
import threading
import time
from typing import Any

from celery import bootsteps

from pacifica.notifications.systemd import Watchdog


class Liveness(bootsteps.StartStopStep):
    """Feeds the watchdog by the timer of the worker's event loop, so that a stuck loop is noticed.

    No loop runs while the worker waits for its broker, or ends. A thread feeds the watchdog then.
    """

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, parent: Any, **options: Any) -> None:
        self._watchdog = Watchdog()
        self._entry: Any = None
        self._thread = threading.Thread(target=self._feed_without_loop, daemon=True)
        super().__init__(parent, **options)

    def include_if(self, _parent: Any) -> bool:
        """Return whether systemd watches this process."""
        return self._watchdog.interval < math.inf

    def start(self, parent: Any) -> None:
        """Feed by the loop, which starts now that there is a connection."""
        self._entry = parent.timer.call_repeatedly(self._watchdog.interval, self._watchdog.feed)
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self, _parent: Any) -> None:
        """Feed by the thread, as the connection is lost or the worker ends."""
        if self._entry is not None:
            self._entry.cancel()
            self._entry = None

    def _feed_without_loop(self) -> None:
        while True:
            if self._entry is None:
                self._watchdog.feed()
            time.sleep(self._watchdog.interval)
