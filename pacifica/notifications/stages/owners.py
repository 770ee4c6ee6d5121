"""What Pacifica Metadata says of a user: the address to which the user's mails may go."""

import json
from urllib.parse import quote

from pacifica.notifications.settings import SettleSettings
from pacifica.notifications.subscriptions import mailbox
from pacifica.notifications.transport import (
    Request,
    Response,
    Transport,
    TransportBusy,
    TransportClosed,
)

_JSON = (("Content-Type", "application/json"),)


class Owners:
    """Asks Metadata for the addresses of users; without Metadata, nobody's is known."""

    def __init__(self, settings: SettleSettings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport

    def address(self, user: str) -> str:
        """Return a user's address as Metadata has it; empty if that cannot be said now."""
        if not self._settings.is_on:
            return ""
        path = f"/users?network_id={quote(user, safe='')}&recursion_depth=0"
        asked = Request("GET", self._settings.metadata_url + path, _JSON)
        try:
            result = self._transport.submit(asked).result(2 * self._settings.timeout + 1)
        except (TransportBusy, TransportClosed, TimeoutError):
            return ""
        if not isinstance(result, Response) or result.status != 200 or result.truncated:
            return ""
        try:
            found = json.loads(result.body)
        except (ValueError, RecursionError):
            return ""
        if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], dict):
            return ""
        given = found[0].get("email_address")
        # Metadata compares names in its own way; another user's address must not be taken.
        if found[0].get("network_id") != user or not isinstance(given, str):
            return ""
        return mailbox(f"mailto:{given.strip()}")
