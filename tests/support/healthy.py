"""Clients that behave: they send events and ask for their subscriptions, and time each answer."""

import http.client
import threading
import time
from collections import Counter
from contextlib import closing
from types import TracebackType
from typing import Any, Self

from tests.support.load import event

#: Seconds that a client rests after each answer.
_REST = 0.02
_TIMEOUT = 15
_CALLS: tuple[tuple[str, str], ...] = (("POST", "/receive"), ("GET", "/eventmatch"))


class Healthy:
    """Two clients that send requests for the time of the block, or for so many seconds.

    One keeps its connection, the other has one for each request. `times` is how long each answer
    took (seconds), `statuses` what was answered; None: nothing, or not over this connection.
    """

    def __init__(self, port: int, seconds: float | None = None) -> None:
        self.times: list[float] = []
        self.statuses: Counter[int | None] = Counter()
        self._port = port
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._over = threading.Event()
        self._counted = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, args=(keeps,)) for keeps in (True, False)
        ]

    def answered(self, count: int, timeout: float = _TIMEOUT) -> None:
        """Wait until so many requests are answered."""
        with self._counted:
            assert self._counted.wait_for(lambda: len(self.times) >= count, timeout)

    def wait(self) -> None:
        """Wait until the time is over."""
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self.wait()

    def _work(self, keeps: bool) -> None:
        number = 0
        with closing(http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)) as one:
            while not self._over.wait(_REST) and (
                self._ends is None or time.monotonic() < self._ends
            ):
                number += 1
                self._ask(one, *_CALLS[number % 2], number)
                if not keeps:
                    one.close()

    def _ask(self, client: http.client.HTTPConnection, method: str, path: str, number: int) -> None:
        body: Any = event(number) if method == "POST" else None
        headers = {"Http-Remote-User": "healthy", "Content-Type": "application/json"}
        began = time.monotonic()
        status = None
        try:
            client.request(method, path, body, headers)
            response = client.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            client.close()
        with self._counted:
            self.times.append(time.monotonic() - began)
            self.statuses[status] += 1
            self._counted.notify_all()
