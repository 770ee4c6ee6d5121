"""`/eventmatch/ID/explain/EVENT`: why an event did or did not reach a subscription."""

from functools import partial
from typing import Any

from pacifica.notifications.rest.access import Access, not_found, require_readable
from pacifica.notifications.rest.admission import require_proxy
from pacifica.notifications.rest.errors import answering_errors, encode_text
from pacifica.notifications.rest.explained import Tracing, explained
from pacifica.notifications.rest.expressions import budget, traced
from pacifica.notifications.rest.sightings import name_of, require_reading, seen_with
from pacifica.notifications.store.events import events_by_uuid
from pacifica.notifications.store.pairs import facts_of

# The segments of the path before the id of the event.
_BEFORE = 3


class Explain:
    """Tell why an event did or did not reach a subscription."""

    exposed = True
    _cp_config = {  # noqa: RUF012
        "hooks.on_start_resource": require_proxy,
        "hooks.before_handler": partial(require_reading, _BEFORE),
    }

    def __init__(self, subscription: str) -> None:
        self._subscription = subscription

    @answering_errors
    def GET(self, *_event: str) -> bytes:  # noqa: N802
        """Return the reason, with the steps that the event took."""
        access = require_readable(self._subscription, "explanation read")
        answer, _tracing = explanation_of(access, name_of(_BEFORE))
        return encode_text(answer)


def explanation_of(access: Access, name: str) -> tuple[dict[str, Any], Tracing]:
    """Return why an event of this id or transaction did or did not reach a subscription.

    The tracing has the trace of the JSONPath that the answer names. Refuses (403) an event that the
    caller may not know of; raises PolicyUnavailable.
    """
    sighting = seen_with(access, name)
    facts = facts_of(access.uuid, sighting.event.uuid)
    stored = events_by_uuid([sighting.event.uuid]).get(sighting.event.uuid)
    if facts is None or stored is None:  # it was purged a moment ago
        raise not_found()
    document = stored.document()
    tracing = Tracing(budget(), lambda jsonpath: traced(jsonpath, document))
    return explained(sighting, facts, tracing), tracing
