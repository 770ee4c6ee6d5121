"""Clients that hold, flood or confuse a web server, hundreds at once, in a process of their own.

`python -m tests.support.hostile PORT SECONDS KIND=COUNT ...` prints as JSON how many connections of
each kind were tried and what answers came. Each client begins again when it was hung up on.
"""

import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.deployments import Service

#: Seconds that a slow client rests after each byte.
_DRIP = 0.2
#: Seconds before a client that was hung up on, or could not connect, tries again.
_REST = 0.5
#: Seconds within which all have come.
_COMING = 1.5
#: Seconds after which a client that is answered nothing begins again.
_TIMEOUT = 90
#: What CherryPy's `server.max_request_header_size` is.
LIMIT = 64 * 1024
# What is chosen differs from run to run no more than it must.
_chosen = random.Random(1)  # noqa: S311 nothing is kept secret by it
_ROOT = Path(__file__).parents[2]
_POST = b"POST /receive HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
_LIST = b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nHttp-Remote-User: %s\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
#: Who owns the list that greedy clients ask for.
OWNER = "owner-of-many"


@dataclass
class Seen:
    """What clients of each kind tried, and what the server answered; None: it hung up."""

    tried: Counter[str] = field(default_factory=Counter)
    unconnected: int = 0
    answers: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def failures(self) -> int:
        """How many answers said that the server failed."""
        return sum(
            count
            for answers in self.answers.values()
            for status, count in answers.items()
            if status.startswith("5")
        )


async def slow_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a head that never ends, byte by byte."""
    await _drip(writer, b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nX-Slow: ")


async def slow_body(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a body byte by byte."""
    await _drip(writer, _POST + b"Content-Length: 1000\r\n\r\n{")


async def slow_chunks(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a body byte by byte, with no length."""
    await _drip(writer, _POST + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n{")


async def slow_large(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a little over a megabyte of a large body, then byte by byte."""
    await _drip(writer, _POST + b"Content-Length: 9000000\r\n\r\n[" + b" " * (2**20 + 1))


async def silent(_: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Connect, and send nothing."""


async def idle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for something, and stay."""
    writer.write(_LIST % b"nobody")


async def greedy(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ask for a long list, again and again, and read nothing."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write((_LIST % OWNER.encode()) * 20)
    await asyncio.sleep(_TIMEOUT)


async def large_head(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a head just below the limit, at it, above it, or far above it."""
    head = b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Large: "
    size = LIMIT + _chosen.choice((-1, 0, 1, 10 * 2**20))
    writer.write(head + b"a" * (size - len(head) - 4) + b"\r\n\r\n")


async def many_headers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send thousands of headers."""
    lines = b"".join(b"X-%d: a\r\n" % number for number in range(5000))
    writer.write(b"GET /eventmatch HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + lines + b"\r\n")


async def garbage(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send bytes that are no HTTP."""
    writer.write(_chosen.randbytes(_chosen.choice((10, 1000, 100_000))))


async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send half a request, and hang up."""
    writer.write(_POST + b"Content-Length: 1000\r\n\r\n{")
    await writer.drain()
    writer.transport.abort()


KINDS: dict[str, Behaviour] = {
    each.__name__: each
    for each in (
        *(slow_head, slow_body, slow_chunks, slow_large, silent, idle, greedy),
        *(large_head, many_headers, garbage, half),
    )
}


#: So many of each: more than any server has threads.
ALL = {
    "slow_head": 200,
    "slow_body": 100,
    "slow_chunks": 50,
    "slow_large": 30,
    "silent": 50,
    "idle": 50,
    "greedy": 15,
    "large_head": 4,
    "many_headers": 4,
    "garbage": 20,
    "half": 20,
}


def prepare(service: Service) -> None:
    """Make the list that greedy clients ask for, of which the system keeps only some answers."""
    for _ in range(100):
        service.subscribe("http://127.0.0.1:9/", OWNER, extensions={"a": "x" * 4000})


@contextmanager
def attack(port: int, seconds: float, kinds: Mapping[str, int]) -> Iterator[Seen]:
    """Have so many clients of each kind at a server while the block runs; it begins with them.

    What they saw is there after the block, which lasts as long as they do at least.
    """
    seen = Seen()
    counts = [f"{kind}={count}" for kind, count in kinds.items()]
    command = [sys.executable, "-m", "tests.support.hostile", str(port), str(seconds), *counts]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "begun\n"
            yield seen
            output, _ = process.communicate(timeout=seconds + 30)
        finally:
            process.kill()
    found = json.loads(output)
    seen.tried.update(found["tried"])
    seen.unconnected = found["unconnected"]
    seen.answers.update({kind: Counter(each) for kind, each in found["answers"].items()})


async def _drip(writer: asyncio.StreamWriter, beginning: bytes) -> None:
    writer.write(beginning)
    while True:
        await asyncio.sleep(_DRIP * _chosen.uniform(0.5, 1.5))
        writer.write(b" ")
        await writer.drain()


async def _attack(port: int, seconds: float, kinds: Mapping[str, int]) -> Seen:
    seen = Seen()
    print("begun", flush=True)
    ends = time.monotonic() + seconds
    tasks = [
        asyncio.create_task(_again_and_again(port, kind, seen, ends))
        for kind, count in kinds.items()
        for _ in range(count)
    ]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return seen


async def _again_and_again(port: int, kind: str, seen: Seen, ends: float) -> None:
    await asyncio.sleep(_chosen.uniform(0, _COMING))
    answers = seen.answers.setdefault(kind, Counter())
    while time.monotonic() < ends:
        try:
            streams = await _connected(port)
        except OSError:
            seen.unconnected += 1
        else:
            seen.tried[kind] += 1
            answers[await _answer(KINDS[kind], *streams)] += 1
        await asyncio.sleep(_REST)


async def _connected(port: int) -> Streams:
    connecting = socket.socket()
    connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # reads little by itself
    connecting.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connecting, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=connecting, limit=4096)
    except OSError:
        connecting.close()
        raise


async def _answer(
    behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> str:
    """Return the status that was answered to a client that behaves so."""
    behaving = asyncio.create_task(behaviour(reader, writer))
    try:
        first = b""
        with suppress(OSError, ValueError, TimeoutError):
            async with asyncio.timeout(_TIMEOUT):
                first = await reader.readline()
                while await reader.read(4096):
                    pass
        words = first.split()
        return words[1].decode("latin-1") if len(words) > 1 else "hung up"
    finally:
        behaving.cancel()
        await asyncio.gather(behaving, return_exceptions=True)
        writer.transport.abort()


def main() -> None:
    """Attack as the command line says."""
    port, seconds, *counts = sys.argv[1:]
    kinds = {kind: int(count) for kind, _, count in (each.partition("=") for each in counts)}
    seen = asyncio.run(_attack(int(port), float(seconds), kinds))
    found = {"tried": seen.tried, "unconnected": seen.unconnected, "answers": seen.answers}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
