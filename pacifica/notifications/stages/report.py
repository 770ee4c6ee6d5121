"""Adds the counts of a process to the totals now and then, and says that a worker lives."""

import logging
import os
import threading
import time
from uuid import uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import NotificationsError
from pacifica.notifications.metrics import Tallies
from pacifica.notifications.store.statistics import Worker, report, worker_ended

_LOG = logging.getLogger(__name__)
#: Seconds between two reports of a process.
INTERVAL = 10.0
_CLOSING = 5.0


class Reporter:
    """Reports every few seconds, in a thread or in passing, and once more at `close`.

    The thread starts when it is first needed, and so after any fork. During an outage of the
    database, the counts wait for the next report.
    """

    def __init__(self, tallies: Tallies, interval: float = INTERVAL) -> None:
        self._tallies = tallies
        self._interval = interval
        self._worker: Worker | None = None
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._due = 0.0

    def start_worker(self, name: str) -> None:
        """Say from now on that this process of the named worker lives; do not wait."""
        if self._worker is None:
            self._worker = Worker(uuid4(), name, utcnow())
        self.keep_reporting(threaded=True)

    def keep_reporting(self, *, threaded: bool) -> None:
        """Have the thread running; without `threaded`, report here and now if it is time.

        A server without threads lets none run while it has no request.
        """
        if not threaded:
            if self._thread is None and time.monotonic() >= self._due:
                self._report()
        elif self._thread is None:
            with self._lock:
                if self._thread is None and not self._ending.is_set():
                    self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Report what is left, and that the worker process ends; within a bound."""
        self._ending.set()
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_CLOSING)
        worker, self._worker = self._worker, None
        self._report()
        if worker is not None:
            try:
                worker_ended(worker)
            except NotificationsError as error:
                _LOG.warning("process %d stays in the list of workers: %s", os.getpid(), error)

    def _run(self) -> None:
        while True:
            self._report()
            if self._ending.wait(self._interval):
                return

    def _report(self) -> None:
        self._due = time.monotonic() + self._interval
        counts = self._tallies.take()
        if not counts and self._worker is None:
            return
        try:
            report(counts, self._worker)
        except NotificationsError as error:
            _LOG.debug("counts wait for the next report: %s", error)
            self._tallies.put_back(counts)
        except Exception:  # noqa: BLE001 an edge: neither a thread nor a request may fail for it
            _LOG.exception("the counts of this process were not reported")
