"""A TCP link in front of a real server, which a test can cut, freeze and restore."""

import contextlib
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

#: Seconds within which the link's thread does what it is told, and a server takes a connection.
TIMEOUT = 5
#: Bytes that are on their way in one direction of a conversation, at most.
CHUNK = 65536
BACKLOG = 128
#: Closing sends a reset instead of what is left to send.
AT_ONCE = struct.pack("ii", 1, 0)


class Link:
    """Pass every byte between its own port of 127.0.0.1 and the server at `host` and `port`.

    `cut`, `freeze` and `restore` have happened when they return, and may be called in any order.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        # Bound without listening, so that nobody else gets the port while the link is cut.
        self._claim = _bound(0)
        self.port: int = self._claim.getsockname()[1]
        self._listener = _listening(self.port)
        self._selector = selectors.DefaultSelector()
        self._conversations: set[_Conversation] = set()
        self._orders: SimpleQueue[tuple[Callable[[], None], threading.Event]] = SimpleQueue()
        self._bell, self._rope = socket.socketpair()
        self._over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def url_of(self, url: str) -> str:
        """Give the URL by which the server that `url` names is reached through this link."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{login}{at}127.0.0.1:{self.port}").geturl()

    def cut(self) -> None:
        """Refuse new connections and reset the open ones, as when the server is killed."""
        self._order(self._cut)

    def freeze(self) -> None:
        """Keep connections and take new ones, but pass no byte, as when a machine stops."""
        self._order(self._freeze)

    def restore(self) -> None:
        """Pass again, what was held by a frozen link first."""
        self._order(self._restore)

    def __enter__(self) -> Self:
        self._thread.start()
        self.restore()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._order(self._end)
        self._thread.join(TIMEOUT)
        for each in (self._claim, self._bell, self._rope, self._selector):
            each.close()

    def _order(self, action: Callable[[], None]) -> None:
        done = threading.Event()
        self._orders.put((action, done))
        self._rope.send(b"!")
        if not done.wait(TIMEOUT):
            raise TimeoutError(f"the link at port {self.port} does not do what it is told")

    # What follows runs in the link's own thread.

    def _run(self) -> None:
        self._selector.register(self._bell, selectors.EVENT_READ)
        while not self._over:
            for key, events in self._selector.select():
                if key.fileobj is self._bell:
                    self._obey()
                    break  # the rest is of before the order
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._conversations:
                    self._turn(key.data, key.fileobj, events)

    def _obey(self) -> None:
        self._bell.recv(1)
        action, done = self._orders.get()
        action()
        done.set()

    def _cut(self) -> None:
        if self._listener.fileno() >= 0:
            self._watch(self._listener, 0)
            self._listener.close()
        for conversation in list(self._conversations):
            self._leave(conversation, _reset)

    def _freeze(self) -> None:
        self._listen()
        # The system goes on to take connections and bytes, until its buffers are full.
        self._watch(self._listener, 0)
        for conversation in self._conversations:
            for side in conversation.sides:
                self._watch(side, 0)

    def _restore(self) -> None:
        self._listen()
        self._watch(self._listener, selectors.EVENT_READ)
        for conversation in self._conversations:
            self._attend(conversation)

    def _end(self) -> None:
        self._cut()
        self._over = True

    def _listen(self) -> None:
        if self._listener.fileno() < 0:
            self._listener = _listening(self.port)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._server, TIMEOUT)
        except OSError:
            _reset(client)
            return
        conversation = _Conversation(client, server)
        self._conversations.add(conversation)
        self._attend(conversation)

    def _turn(self, conversation: "_Conversation", side: socket.socket, events: int) -> None:
        try:
            is_over = conversation.turn(side, events)
        except OSError:
            self._leave(conversation, _reset)
            return
        if is_over:
            self._leave(conversation, socket.socket.close)
        else:
            self._attend(conversation)

    def _attend(self, conversation: "_Conversation") -> None:
        for side in conversation.sides:
            self._watch(side, conversation.interest(side), conversation)

    def _leave(self, left: "_Conversation", close: Callable[[socket.socket], None]) -> None:
        self._conversations.discard(left)
        for side in left.sides:
            self._watch(side, 0)
            close(side)

    def _watch(
        self, side: socket.socket, events: int, conversation: "_Conversation | None" = None
    ) -> None:
        if side in self._selector.get_map():
            self._selector.unregister(side)
        if events:
            self._selector.register(side, events, conversation)


class _Conversation:
    """A client, its server, and what is on its way between them."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.sides = {client: server, server: client}
        self._waiting = dict.fromkeys(self.sides, b"")  # by the side that it goes to
        self._silent: set[socket.socket] = set()  # sides that will say no more
        for side in self.sides:
            side.setblocking(False)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def interest(self, side: socket.socket) -> int:
        """Give the events of one side that the conversation waits for."""
        reads = side not in self._silent and not self._waiting[self.sides[side]]
        return (selectors.EVENT_READ if reads else 0) | (
            selectors.EVENT_WRITE if self._waiting[side] else 0
        )

    def turn(self, side: socket.socket, events: int) -> bool:
        """Take what one side says, or tell it what it waits for; tell whether all is said."""
        other = self.sides[side]
        if events & selectors.EVENT_WRITE:
            self._waiting[side] = self._waiting[side][side.send(self._waiting[side]) :]
            if other in self._silent and not self._waiting[side]:
                side.shutdown(socket.SHUT_WR)
        if events & selectors.EVENT_READ:
            self._waiting[other] = side.recv(CHUNK)
            if not self._waiting[other]:
                self._silent.add(side)
                other.shutdown(socket.SHUT_WR)
        return len(self._silent) == len(self.sides) and not any(self._waiting.values())


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _listening(port: int) -> socket.socket:
    listener = _bound(port)
    listener.listen(BACKLOG)
    return listener


def _reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    connection.close()
