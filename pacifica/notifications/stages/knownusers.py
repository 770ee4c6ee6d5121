"""Finds out which users Policy does not know, and asks about a user ever more rarely."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from pacifica.notifications.policy import (
    exact_user_request,
    found_nobody,
    found_users,
    is_unknown_user,
    user_request,
)
from pacifica.notifications.transport import Request, Response, SendFailure

# Seconds until a user is asked about a second time; they double each time, up to the second number.
_FIRST_WAIT = 1.0
_MAX_WAIT = 600.0
_MAX_USERS = 10_000

Results = Callable[[Mapping[str, Request]], dict[str, Response | SendFailure]]


@dataclass(frozen=True)
class _Asked:
    """When to ask about a user again (monotonic seconds), and the wait that led there."""

    due: float
    wait: float


class KnownUsers:
    """The users that Policy was asked about, after it failed to give a verdict on them.

    `results` sends requests. Several threads may use it: a user may then be asked about twice.
    """

    def __init__(
        self, url: str, results: Results, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._results = results
        self._clock = clock
        self._asked: OrderedDict[str, _Asked] = OrderedDict()

    def unknown(self, users: Collection[str], urgent: Collection[str] = ()) -> set[str]:
        """Return those of the users that Policy does not know.

        Those whose next question is not due are left out, but for `urgent` ones.
        """
        now = self._clock()
        due = {user for user in users if user in urgent or self._is_due(user, now)}
        found = self._results({user: user_request(self._url, user) for user in due})
        unknown = {user for user, result in found.items() if is_unknown_user(result)}
        # That search also finds users whose names, or addresses, only contain the name.
        similar = {user for user, result in found.items() if found_users(result)}
        exact = self._results({user: exact_user_request(self._url, user) for user in similar})
        unknown |= {user for user, result in exact.items() if found_nobody(result)}
        for user in due - unknown:
            self._ask_later(user, now)
        self.forget(unknown)
        return unknown

    def forget(self, users: Collection[str]) -> None:
        """Ask about users at once when there is a next time, as Policy gave a verdict on them."""
        for user in users:
            self._asked.pop(user, None)

    def _is_due(self, user: str, now: float) -> bool:
        asked = self._asked.get(user)
        return asked is None or asked.due <= now

    def _ask_later(self, user: str, now: float) -> None:
        asked = self._asked.pop(user, None)
        wait = _FIRST_WAIT if asked is None else min(2 * asked.wait, _MAX_WAIT)
        self._asked[user] = _Asked(now + wait, wait)
        while len(self._asked) > _MAX_USERS:
            self._asked.popitem(last=False)
