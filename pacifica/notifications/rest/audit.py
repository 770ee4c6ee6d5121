"""`/audit`: who did what to which subscription, for operators."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from pacifica.notifications.rest import paging
from pacifica.notifications.rest.access import require_operator
from pacifica.notifications.rest.admission import require_proxy
from pacifica.notifications.rest.context import KEY, Context
from pacifica.notifications.rest.errors import answering_errors, encode_text
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.store import audit
from pacifica.notifications.store.audit import Audited
from pacifica.notifications.store.position import Position


class Audit:
    """List the audit log."""

    exposed = True

    def __init__(self, shared: Context | None = None) -> None:
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.on_start_resource": require_proxy,
            "hooks.before_handler": partial(require_known, {1: ("GET", "HEAD")}, paging.PARAMETERS),
        }

    @answering_errors
    def GET(self) -> bytes:  # noqa: N802
        """Return a page of entries, newest first."""
        return encode_text(page_of(require_operator(), paging.query()))


def page_of(operator: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a page of entries, and add one about the reading; raises InvalidInput."""
    wanted = paging.page_request(parameters)
    found = audit.entries(wanted.limit + 1, wanted.after, wanted.start, wanted.end)
    last = None
    if len(found) > wanted.limit:
        final = found[wanted.limit - 1]
        last = Position(final.moment, final.uuid)
    audit.record(operator, "audit log read", operator)
    return paging.page([_shown(each) for each in found[: wanted.limit]], last)


def _shown(each: Audited) -> dict[str, Any]:
    return {
        "time": paging.iso(each.moment),
        "actor": each.actor,
        "action": each.action,
        "owner": each.owner,
        "subscription": None if each.subscription is None else str(each.subscription),
        "details": json.loads(each.details),
    }
