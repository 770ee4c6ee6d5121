"""`/livez` and `/readyz`: whether this process answers, and whether it can do its work."""

import time
from functools import partial
from typing import Any

from pacifica.notifications.errors import SchemaMismatch, StoreUnavailable
from pacifica.notifications.orm import check_version, reading
from pacifica.notifications.rest.context import KEY, Context, context
from pacifica.notifications.rest.errors import ApiError, encode_text
from pacifica.notifications.rest.request import require_known

_READABLE = {1: ("GET", "HEAD")}
_OK = "ok"
# Seconds for which the broker is not asked again.
_BROKER_FRESH = 5.0
_RETRY_AFTER = 5


class Livez:
    """Tell that the process answers; nothing else is looked at."""

    exposed = True

    def __init__(self) -> None:
        self._cp_config: dict[str, Any] = {
            "hooks.before_handler": partial(require_known, _READABLE)
        }

    def GET(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Answer 200."""
        return encode_text({"status": "200 OK"})


class Readyz:
    """Tell whether events and subscriptions can be stored."""

    exposed = True

    def __init__(self, shared: Context | None = None) -> None:
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.before_handler": partial(require_known, _READABLE),
        }
        self._broker = _OK
        self._broker_expires = 0.0

    def GET(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Answer 200, or 503 with the checks that failed; the broker's is only shown."""
        broker = self._broker_now()  # first, as this builds the App, which binds the database
        checks = {**_database(), "broker": broker}
        failed = [name for name in ("database", "schema") if checks[name] != _OK]
        if failed:
            headers = {"Retry-After": str(_RETRY_AFTER)}
            raise ApiError(503, f"not ready: {', '.join(failed)}", headers, checks=checks)
        return encode_text({"status": "200 OK", "checks": checks})

    def _broker_now(self) -> str:
        """Return the state of the broker, which is asked once in a while only."""
        app = context().app
        if time.monotonic() >= self._broker_expires:
            self._broker_expires = time.monotonic() + _BROKER_FRESH
            self._broker = _OK if app.publisher.is_reachable() else "not reachable"
        return self._broker


def _database() -> dict[str, str]:
    """Return the states of the database and its schema; the schema is unknown without it."""
    try:
        reading(check_version)()  # which tells of an outage, as a check alone does not
    except SchemaMismatch as error:
        return {"database": _OK, "schema": str(error)}
    except StoreUnavailable:
        return {"database": "not reachable", "schema": "unknown"}
    return {"database": _OK, "schema": _OK}
