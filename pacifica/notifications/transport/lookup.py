"""Looking up a name, for addresses that requests may go to."""

import socket
import threading
from dataclasses import dataclass

from pacifica.notifications.subscriptions.networks import Rules


@dataclass(frozen=True, slots=True)
class Found:
    """What the lookup of a name came to: `addresses` are those that the rules permit.

    There are none when it failed, and when none is permitted; then `refusal` is a rule that was
    broken.
    """

    name: str
    addresses: tuple[str, ...]
    refusal: str | None = None


class Lookups:
    """Looks up names for those who wait for the answer, so many at once."""

    def __init__(self, most: int, rules: Rules) -> None:
        self._rules = rules
        self._places = threading.BoundedSemaphore(most)

    def find(self, name: str, timeout: float) -> Found | None:
        """Return what a name is found to be; None if not in time, or too many others hang."""
        if not self._places.acquire(blocking=False):
            return None
        found: list[Found] = []

        def look() -> None:
            try:
                found.append(look_up(name, self._rules))
            finally:
                self._places.release()

        thread = threading.Thread(target=look, name="lookup", daemon=True)
        thread.start()
        thread.join(timeout)
        return found[0] if found else None


def look_up(name: str, rules: Rules) -> Found:
    """Ask the system for the addresses of a name; that may take long, and cannot be interrupted."""
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter for labels that no name can have
        return Found(name, ())
    refusals = {address: rules.refusal(address) for address in (str(info[4][0]) for info in infos)}
    # Libcurl cannot parse an address with a zone.
    permitted = [each for each, rule in refusals.items() if rule is None and "%" not in each]
    broken = [rule for rule in refusals.values() if rule is not None]
    return Found(name, tuple(permitted), broken[0] if broken and not permitted else None)
