"""The sockets of connections, opened for libcurl where the rules permit it."""

import os
import socket
import sys
from typing import Any

import pycurl

from pacifica.notifications.subscriptions.networks import Rules


class Opener:
    """Opens the sockets of one transfer after another, and remembers what was refused of one.

    Libcurl asks once for each address that it tries, with the very address: however a URL is
    written, and whatever a name has come to mean, nothing else is connected to.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._opened = False
        self._broken: str | None = None

    def serve(self, curl: pycurl.Curl) -> None:
        """Have a handle ask here; where there is no rule, libcurl opens its sockets itself."""
        if self._rules.refuse_addresses:
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open)
            if sys.platform != "win32":
                curl.setopt(pycurl.SOCKOPTFUNCTION, _keep_from_programs)

    def begin(self) -> None:
        """Forget the last transfer."""
        self._opened, self._broken = False, None

    @property
    def refusal(self) -> str | None:
        """The rule by which a transfer got no connection; None where it tried any address."""
        return None if self._opened else self._broken

    def _open(self, _purpose: int, address: Any) -> Any:
        self._broken = self._rules.refusal(address.addr[0])
        if self._broken is not None:
            return pycurl.SOCKET_BAD
        self._opened = True
        try:
            return _Lent(socket.socket(address.family, address.socktype, address.protocol))
        except OSError:
            return pycurl.SOCKET_BAD


class _Lent:
    """A socket that closes when pycurl lets go of it, having made a duplicate for libcurl."""

    def __init__(self, opened: socket.socket) -> None:
        self._opened = opened

    def fileno(self) -> int:
        return self._opened.fileno()

    def __del__(self) -> None:
        self._opened.close()


def _keep_from_programs(descriptor: int, _purpose: int) -> int:
    # The duplicate would be inherited by programs that this process runs.
    os.set_inheritable(descriptor, False)
    return 0
