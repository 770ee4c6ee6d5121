"""Policy and targets: nginx where it is installed, which costs next to nothing, else a stand-in.

Each peer writes a line for each request into a log: the moment, and the path. nginx knows moments
to a millisecond.

`python -m tests.benchmarks.peers PORT LOG BODY DELAY` runs the stand-in, which can also be slow.
"""

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tests.benchmarks.programs import await_answer
from tests.support.processes import Program
from tests.support.proxies import nginx_path
from tests.support.servers import free_port

_ROOT = Path(__file__).parents[2]
#: What Policy answers to the question whether a user may see an event: nothing speaks against it.
_ALLOWED = "[]"
_POLL = 0.002
_NGINX = """
daemon off;
worker_processes 1;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 0;
  keepalive_requests 10000000;
  default_type application/json;
  log_format brief '$msec $uri';
{servers}
}}
"""
_SERVER = """
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    access_log {log} brief;
    location / {{ return 200 '{body}'; }}
    location = / {{ access_log off; return 200 ''; }}
  }}
"""


@dataclass(frozen=True)
class Peer:
    """A server that answers 200, and the log of what it was asked.

    `GET /` is for finding out whether it answers and is not logged.
    """

    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def requests(self, start: int = 0) -> list[tuple[float, str]]:
        """Return moment and path of the requests whose lines begin at `start` (bytes) or later."""
        with self.log.open("rb") as log:
            log.seek(start)
            lines = [line.split(b" ", 1) for line in log if line.endswith(b"\n")]
        return [(float(moment), path.decode().strip()) for moment, path in lines]

    def size(self) -> int:
        """Return how long the log is (bytes)."""
        return self.log.stat().st_size

    def wait_for(self, count: int, timeout: float, start: int = 0) -> list[tuple[float, str]]:
        """Return the requests since `start` once there are so many, or as many as came in time."""
        deadline = time.monotonic() + timeout
        found, seen = 0, start
        while found < count and time.monotonic() < deadline:
            with self.log.open("rb") as log:
                log.seek(seen)
                new = log.read()
            seen += len(new)
            found += new.count(b"\n")
            # One who waits for few looks often; one who waits for many leaves them the processor.
            time.sleep(min(max(_POLL, (count - found) / 20_000), 0.1))
        return self.requests(start)


@dataclass(frozen=True)
class Peers:
    """Policy and a target."""

    policy: Peer
    target: Peer


@contextmanager
def peers(folder: Path) -> Iterator[Peers]:
    """Run a Policy that lets everybody see everything, and a target that takes everything."""
    folder.mkdir(parents=True, exist_ok=True)
    policy, target = _peer(folder, "policy"), _peer(folder, "target")
    nginx = nginx_path()
    with ExitStack() as stack:
        if nginx is None:
            stack.enter_context(_stand_in(policy, folder, _ALLOWED, 0))
            stack.enter_context(_stand_in(target, folder, "", 0))
            yield Peers(policy, target)
            return
        servers = "".join(
            _SERVER.format(port=peer.port, log=peer.log, body=body)
            for peer, body in ((policy, _ALLOWED), (target, ""))
        )
        (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, servers=servers))
        options = ["-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        program = stack.enter_context(Program([nginx, *options], {}, folder))
        for peer in (policy, target):
            await_answer(program, peer.port)
        yield Peers(policy, target)


@contextmanager
def slow_target(folder: Path, delay: float) -> Iterator[Peer]:
    """Run a target that answers after so many seconds, to as many requests at once as come."""
    peer = _peer(folder, "slow")
    with _stand_in(peer, folder, "", delay):
        yield peer


def _peer(folder: Path, name: str) -> Peer:
    log = folder / f"{name}.log"
    log.touch()
    return Peer(free_port(), log)


@contextmanager
def _stand_in(peer: Peer, folder: Path, body: str, delay: float) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.benchmarks.peers"]
    arguments = [str(peer.port), str(peer.log), body, str(delay)]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with Program([*command, *arguments], environment, folder) as program:
        await_answer(program, peer.port)
        yield


class _StandIn(asyncio.Protocol):
    """Answers each request on a connection after a delay, one at a time."""

    def __init__(self, log: BinaryIO, body: bytes, delay: float) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        self._answer += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        self._log = log
        self._delay = delay
        self._received = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def connection_lost(self, _reason: Exception | None) -> None:
        self._transport = None

    def data_received(self, received: bytes) -> None:
        self._received += received
        head, found, body = bytes(self._received).partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            length = int(value) if name == b"content-length" else length
        if len(body) < length:
            return
        self._received.clear()
        path = head.split(b" ", 2)[1]
        if path != b"/":
            self._log.write(b"%.6f %s\n" % (time.time(), path))
        if self._delay and path != b"/":
            asyncio.get_running_loop().call_later(self._delay, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if self._transport is not None:
            self._transport.write(self._answer)


async def _serve(port: int, log: Path, body: bytes, delay: float) -> None:
    with log.open("ab", buffering=0) as opened:
        server = await asyncio.get_running_loop().create_server(
            lambda: _StandIn(opened, body, delay), "127.0.0.1", port, backlog=2048
        )
        async with server:
            await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(
        _serve(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].encode(), float(sys.argv[4]))
    )
