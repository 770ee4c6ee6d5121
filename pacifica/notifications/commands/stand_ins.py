"""Stand-ins to try the service with: a Policy that allows all, and a target."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue

LOOPBACK = "127.0.0.1"
_POLL = 0.05


@contextmanager
def allowing_policy() -> Iterator[str]:
    """Run a Policy that lets every user see every event; yield its URL."""

    class Allowing(_Quiet):
        def do_POST(self) -> None:
            self.answer(b'{"status": "success"}')

    with _running(Allowing) as url:
        yield url


@contextmanager
def catching_target(caught: SimpleQueue[bytes]) -> Iterator[str]:
    """Run a target that accepts everything and puts it into a queue; yield its URL."""

    class Catching(_Quiet):
        def do_POST(self) -> None:
            caught.put(self.answer(b"{}"))

    with _running(Catching) as url:
        yield url


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes; Nagle would add 40 ms
    timeout = 30

    def answer(self, body: bytes) -> bytes:
        """Send a response with status 200 and return the body of the request."""
        received = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return received

    def log_message(self, *_arguments: object) -> None:
        """Write no log: the service's own log has the deliveries."""


@contextmanager
def _running(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer((LOOPBACK, 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(_POLL,), daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
