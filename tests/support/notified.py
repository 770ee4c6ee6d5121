"""A socket as systemd gives to a service, which takes what the service says of itself."""

import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

TIMEOUT = 30.0


class NotifySocket:
    """Receive the datagrams of one service; `environment` has it send them here."""

    def __init__(self, watchdog: float | None = None) -> None:
        """Have the service say every so many seconds that it works; by default it need not."""
        # Not below pytest's folders: the path of a socket has at most 107 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.environment = {"NOTIFY_SOCKET": str(Path(self._folder.name, "socket"))}
        if watchdog is not None:
            self.environment["WATCHDOG_USEC"] = str(int(watchdog * 1e6))

    def next(self, timeout: float = TIMEOUT) -> str:
        """Return the next message; raises TimeoutError."""
        self._socket.settimeout(timeout)
        return self._socket.recv(4096).decode()

    def wait_for(self, message: str) -> list[str]:
        """Return the messages that came before a certain one."""
        before: list[str] = []
        while (said := self.next()) != message:
            before.append(said)
        return before

    def forget(self) -> None:
        """Drop what came up to now."""
        self._socket.setblocking(False)
        try:
            while True:
                self._socket.recv(4096)
        except BlockingIOError:
            return

    def __enter__(self) -> Self:
        self._socket.bind(self.environment["NOTIFY_SOCKET"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._folder.cleanup()
