"""Clients of `/receive`: as fast as they are answered, or at a fixed rate."""

import time
from collections.abc import Callable, Iterator
from io import BytesIO

import pycurl

CONNECTIONS = 16
_TIMEOUT = 10


class Requests:
    """The same POST again and again on kept connections; `failed` counts all answers but 200."""

    def __init__(self, url: str, body: bytes, connections: int = CONNECTIONS) -> None:
        self.failed = 0
        self._multi = pycurl.CurlMulti()
        self._idle = [self._handle(url, body) for _ in range(connections)]
        self._began: dict[pycurl.Curl, float] = {}

    def as_fast_as_answered(self, seconds: float, most: int) -> list[float]:
        """Send the next request on each connection when the last one is answered.

        Ends after so many seconds or requests; returns how long each took (seconds).
        """
        ends = time.perf_counter() + seconds

        def due(sent: int) -> float | None:
            now = time.perf_counter()
            return now if now < ends and sent < most else None

        return self._run(due)

    def at_rate(self, rate: float, seconds: float) -> list[float]:
        """Send a request at each moment of a fixed rate, late where all connections are busy.

        Returns how long each took from the moment at which it was due (seconds).
        """
        first = time.perf_counter()
        count = int(rate * seconds)
        return self._run(lambda sent: first + sent / rate if sent < count else None)

    def _run(self, due: Callable[[int], float | None]) -> list[float]:
        """Send until `due` gives no moment for the next one; return how long each took."""
        times: list[float] = []
        sent = 0
        while (moment := due(sent)) is not None or self._began:
            pause = 1.0 if moment is None else moment - time.perf_counter()
            if moment is not None and pause <= 0 and self._idle:
                handle = self._idle.pop()
                self._began[handle] = moment
                self._multi.add_handle(handle)
                sent += 1
                continue
            self._multi.perform()
            ended = list(self._ended())
            times += ended
            if not ended and self._began:
                self._multi.select(min(max(pause, 0.0), 1.0) if self._idle else 1.0)
            elif not ended:
                time.sleep(max(pause, 0.0))
        return times

    def _ended(self) -> Iterator[float]:
        _more, done, failed = self._multi.info_read()
        now = time.perf_counter()
        for handle in (*done, *(each[0] for each in failed)):
            self._multi.remove_handle(handle)
            self._idle.append(handle)
            took = now - self._began.pop(handle)
            if handle in done and handle.getinfo(pycurl.RESPONSE_CODE) == 200:
                yield took
            else:
                self.failed += 1

    @staticmethod
    def _handle(url: str, body: bytes) -> pycurl.Curl:
        handle = pycurl.Curl()
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.PROXY, "")
        handle.setopt(pycurl.POSTFIELDS, body)
        handle.setopt(pycurl.HTTPHEADER, ["Content-Type: application/json", "Expect:"])
        handle.setopt(pycurl.TIMEOUT, _TIMEOUT)
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.WRITEDATA, BytesIO())
        return handle


def post(port: int, body: bytes, count: int) -> None:
    """Post an event so many times, as fast as it is answered; ends the program when one fails."""
    requests = Requests(f"http://127.0.0.1:{port}/receive", body, min(count, CONNECTIONS))
    answered = requests.as_fast_as_answered(60 + count / 10, count)
    if requests.failed or len(answered) < count:
        raise SystemExit(f"{requests.failed} of {count} events were not taken")
