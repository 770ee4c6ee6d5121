"""Very many programs that fetch from subscriptions in vain, as one program plays them.

`python -m tests.support.pullers PORT SECONDS` reads subscriptions, one a line, and has each fetched
from by a puller that waits for as long as it is told to. It prints how often it was answered.
"""

import asyncio
import heapq
import json
import random
import sys
import time

_CONNECTIONS = 50
_TIMEOUT = 30
_BODY = json.dumps({"max": 100, "wait": 20}).encode()


class Pullers:
    """The pullers; each fetches for the first time at some moment of the first seconds."""

    def __init__(self, port: int, subscriptions: list[str], starting: float) -> None:
        self._port = port
        now = time.monotonic()
        self._due = [(now + random.uniform(0, starting), uuid) for uuid in subscriptions]  # noqa: S311
        heapq.heapify(self._due)
        self.answered = 0

    async def run(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._pull(until) for _ in range(_CONNECTIONS)))

    async def _pull(self, until: float) -> None:
        while (now := time.monotonic()) < until:
            if not self._due or self._due[0][0] > now:
                await asyncio.sleep(0.05)
                continue
            _due, uuid = heapq.heappop(self._due)
            retry_after = await asyncio.wait_for(self._fetch(uuid), _TIMEOUT)
            self.answered += 1
            heapq.heappush(self._due, (time.monotonic() + retry_after, uuid))

    async def _fetch(self, uuid: str) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST /eventmatch/{uuid}/pull HTTP/1.1\r\nHost: service\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(_BODY)}\r\n\r\n"
        writer.write(head.encode() + _BODY)
        answer = await reader.read()
        writer.close()
        status, _, rest = answer.partition(b"\r\n")
        if b" 200 " not in status:
            raise AssertionError(answer)
        return float(json.loads(rest.partition(b"\r\n\r\n")[2])["retry_after"])


def main(port: str, seconds: str) -> None:
    subscriptions = sys.stdin.read().split()
    pullers = Pullers(int(port), subscriptions, float(seconds) / 2)
    print("pulling", flush=True)
    asyncio.run(pullers.run(float(seconds)))
    print(pullers.answered, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
