"""One host and port with the targets of many: some paths hang, all others answer at once."""

import asyncio
import json
import threading
import time
from types import TracebackType
from typing import Self

_START_TIMEOUT = 10.0
HANGING = "/hanging"


class Gateway:
    """An HTTP server that never answers below `/hanging`, and at once anywhere else.

    It takes any number of connections. `arrivals` has the moment (of `time.monotonic`) at which
    each event came that it answered, by path and `eventID`; `hanging` counts requests that hang
    now, and `max_hanging` is the most that did at once.
    """

    def __init__(self) -> None:
        self.arrivals: dict[tuple[str, str], float] = {}
        self.hanging: dict[str, int] = {}
        self.max_hanging: dict[str, int] = {}
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._over: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, path: str, event: str, timeout: float) -> float | None:
        """Return when an event came to a path; None where it did not come in time."""
        with self._changed:
            self._changed.wait_for(lambda: (path, event) in self.arrivals, timeout)
            return self.arrivals.get((path, event))

    def wait_hanging(self, count: int, timeout: float) -> bool:
        """Wait until so many requests hang; tell whether they do."""
        with self._changed:
            return self._changed.wait_for(lambda: sum(self.hanging.values()) >= count, timeout)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(_START_TIMEOUT)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._over is not None:
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_START_TIMEOUT)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0, backlog=2048)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._over.wait()
        server.close()
        conversations = asyncio.all_tasks() - {asyncio.current_task()}
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                (length,) = (
                    int(line.partition(b":")[2])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                body = await reader.readexactly(length)
                if path.startswith(HANGING):
                    await self._hang(path, reader)
                    return
                self._note(path, body)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _hang(self, path: str, reader: asyncio.StreamReader) -> None:
        with self._changed:
            self.hanging[path] = self.hanging.get(path, 0) + 1
            self.max_hanging[path] = max(self.max_hanging.get(path, 0), self.hanging[path])
            self._changed.notify_all()
        try:
            await reader.read()  # until the other side gives up
        finally:
            with self._changed:
                self.hanging[path] -= 1

    def _note(self, path: str, body: bytes) -> None:
        with self._changed:
            self.arrivals.setdefault((path, json.loads(body)["eventID"]), time.monotonic())
            self._changed.notify_all()
