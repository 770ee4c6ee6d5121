"""The transfers under way, and the sockets and times that they wait for."""

import selectors
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pycurl

from pacifica.notifications.subscriptions.networks import Rules
from pacifica.notifications.transport.exchange import Limits, SendFailure
from pacifica.notifications.transport.lookup import Found
from pacifica.notifications.transport.names import Names
from pacifica.notifications.transport.parcels import Parcel
from pacifica.notifications.transport.transfer import BAD_URL, SILENT, Transfer
from pacifica.notifications.transport.turns import Turns

if sys.platform != "win32":
    import resource

# So often within a read time-out, all transfers are looked at.
_LOOKS = 10


class Engine:
    """The transfers under way in libcurl, with the sockets and the alarm they wait for."""

    def __init__(
        self,
        limits: Limits,
        rules: Rules,
        ca_file: str,
        ear: socket.socket,
        report: Callable[[Found], None],
    ) -> None:
        self._limits = limits = _affordable(limits)
        self._rules = rules
        self._ca_file = ca_file
        self._names = Names(limits, rules, report)
        self._turns = Turns(limits)
        self._transfers: dict[pycurl.Curl, Transfer] = {}
        self._spare: list[Transfer] = []
        self._alarm: float | None = None
        self._look = 0.0  # when to look for those that are silent
        self._ear = ear.fileno()
        self._watched = {self._ear}
        self._selector = selectors.DefaultSelector()
        self._selector.register(ear, selectors.EVENT_READ)
        self._multi = pycurl.CurlMulti()
        # The second closes kept connections where those in flight need their sockets.
        self._multi.setopt(pycurl.M_MAXCONNECTS, limits.connections)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, limits.connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_alarm)

    @property
    def waiting(self) -> int:
        """How many requests have not started."""
        return self._names.waiting + self._turns.waiting

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self.waiting and not self._turns.running

    def admit(self, parcels: list[Parcel], found: list[Found], *, sweep: bool) -> None:
        """Have each parcel wait for its name or its turn; first free places if `sweep`."""
        if sweep:
            self._turns.forget_cancelled()
        for answer in found:
            for parcel in self._names.learn(answer):
                if answer.addresses:
                    self._turns.join(parcel)
                elif answer.refusal is not None:
                    parcel.refuse(SendFailure(answer.refusal, 0.0, refused=True))
                else:
                    parcel.refuse(SendFailure("host not found", 0.0))
        for parcel in parcels:
            if self._names.knows(parcel.address.name):
                self._turns.join(parcel)
            else:
                self._names.ask(parcel)

    def advance(self) -> None:
        """Start the transfers whose turn it is, settle those that ended or are too late."""
        self._start()
        now = time.monotonic()
        for parcel in self._names.late(now):
            seconds = self._names.timeout(parcel)
            parcel.refuse(SendFailure(f"host not found within {seconds:g} s", 0.0))
        if self._alarm is not None and self._alarm <= now:
            self._alarm = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        if self._look <= now:
            self._look = now + self._limits.read_timeout / _LOOKS
            self._hang_up(now)
        if self._settle():
            self._start()

    def wait(self, patience: float) -> None:
        """Wait for a byte in the ear, a socket that is ready or the alarm, and feed libcurl."""
        look = self._look if self._transfers else None
        for alarm in (self._alarm, self._names.alarm, look):
            if alarm is not None:
                patience = min(patience, alarm - time.monotonic())
        # The bits of `selectors` and libcurl agree: 1 is reading, 2 is writing.
        for key, events in self._selector.select(max(patience, 0.0)):
            if key.fd != self._ear:
                self._multi.socket_action(key.fd, events)

    def end(self, inbox: list[Parcel], outcome: SendFailure) -> None:
        """Give `outcome` to all that have none, then let go of every connection."""
        for parcel in (*self._names.left(), *self._turns.left(), *inbox):
            parcel.refuse(outcome)
        for parcel in self._turns.running:
            parcel.future.set_result(outcome)
        self._multi.close()
        for transfer in (*self._transfers.values(), *self._spare):
            transfer.curl.close()
        self._selector.close()

    def _start(self) -> None:
        while (parcel := self._turns.take()) is not None:
            transfer = self._spare.pop() if self._spare else self._new_transfer()
            try:
                transfer.begin(parcel, self._names.addresses(parcel.address.name))
                self._multi.add_handle(transfer.curl)
            except pycurl.error:
                transfer.curl.close()
                unusable = SendFailure(BAD_URL, 0.0)
                self._turns.leave(parcel, unusable)
                parcel.future.set_result(unusable)
            else:
                self._transfers[transfer.curl] = transfer

    def _new_transfer(self) -> Transfer:
        return Transfer(self._limits, self._rules, self._ca_file)

    def _settle(self) -> bool:
        ended: list[tuple[pycurl.Curl, int]] = []
        more = 1
        while more:
            more, done, failed = self._multi.info_read()
            ended += [(curl, pycurl.E_OK) for curl in done]
            ended += [(curl, code) for curl, code, _ in failed]
        for curl, code in ended:
            self._end(curl, code)
        return bool(ended)

    def _hang_up(self, now: float) -> None:
        silent = [curl for curl, transfer in self._transfers.items() if transfer.is_silent(now)]
        for curl in silent:
            self._end(curl, SILENT)
        if silent:
            self._start()

    def _end(self, curl: pycurl.Curl, code: int) -> None:
        self._multi.remove_handle(curl)
        parcel, outcome = self._transfers[curl].end(code)
        self._spare.append(self._transfers.pop(curl))
        self._turns.leave(parcel, outcome)
        parcel.future.set_result(outcome)

    def _watch(self, events: int, fd: int, _multi: object, _mark: object) -> None:
        if events == pycurl.POLL_REMOVE:
            if fd in self._watched:
                self._watched.remove(fd)
                self._selector.unregister(fd)
        elif fd in self._watched:
            self._selector.modify(fd, events)
        else:
            self._selector.register(fd, events)
            self._watched.add(fd)

    def _set_alarm(self, milliseconds: int) -> None:
        self._alarm = None if milliseconds < 0 else time.monotonic() + milliseconds / 1000


def _affordable(limits: Limits) -> Limits:
    """Leave half of the files that this process may have open to others, such as the database."""
    if sys.platform == "win32":  # which has no such limit
        return limits
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return limits
    return replace(limits, connections=min(limits.connections, files // 2))
