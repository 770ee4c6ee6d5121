"""`/expressions/test`: try a JSONPath on an event, and see what each part of it lets through."""

import json
from dataclasses import asdict
from functools import partial
from typing import Any

from pacifica.notifications.errors import ExpressionError, InvalidInput
from pacifica.notifications.events import Event, parse_event
from pacifica.notifications.jsontext import read_json
from pacifica.notifications.matching import Found, Trace, TraceResult, is_indexed, trace_jsonpath
from pacifica.notifications.rest.admission import get_remote_user, require_proxy
from pacifica.notifications.rest.body import read_body
from pacifica.notifications.rest.context import KEY, Context, context
from pacifica.notifications.rest.errors import answering_errors, encode_text
from pacifica.notifications.rest.request import require_known
from pacifica.notifications.validation import Schema

_BODY = Schema(
    {
        "type": "object",
        "properties": {"jsonpath": {"type": "string", "minLength": 1}, "event": {"type": "object"}},
        "required": ["jsonpath", "event"],
        "additionalProperties": False,
    }
)
#: Bytes of a body: an event about ten thousand files fits.
MAX_BODY = 3 * 2**20
#: Steps, so that a trace takes about a tenth of a second.
MAX_BUDGET = 200_000
# Characters of a found value that are shown.
_MAX_SHOWN = 1000


class Expressions:
    """What callers can do with JSONPaths that no subscription has."""

    def __init__(self, shared: Context | None = None) -> None:
        self.test = ExpressionTest(shared)


class ExpressionTest:
    """Try a JSONPath on an event that the caller brings along."""

    exposed = True

    def __init__(self, shared: Context | None = None) -> None:
        self._cp_config = {
            KEY: shared or Context(),
            "hooks.on_start_resource": require_proxy,
            "hooks.before_handler": partial(require_known, {2: ("POST",)}),
        }

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802 CherryPy dispatches on it
        """Return whether the event matches, what is found, and a trace."""
        get_remote_user()
        body = read_json(read_body(MAX_BODY), context().settings.receive.max_depth + 1)
        _BODY.check(body)
        event = event_of(json.dumps(body["event"]))
        trace = tried(body["jsonpath"], event.document())
        return encode_text(trace_shown(body["jsonpath"], trace, budget()))


def event_of(text: str) -> Event:
    """Return the event that a JSON text is, as it would be received; raises InvalidInput."""
    return parse_event(text.encode(), context().settings.receive.max_depth)


def tried(jsonpath: str, document: Any) -> Trace:
    """Trace a JSONPath that the caller gave; raises InvalidInput if it does not parse."""
    try:
        return traced(jsonpath, document)
    except ExpressionError as error:
        raise InvalidInput(("jsonpath", str(error))) from error


def traced(jsonpath: str, document: Any) -> Trace:
    """Trace a JSONPath on an event, one at a time; raises ExpressionError if it does not parse."""
    settings = context().settings
    with context().traces.held():
        return trace_jsonpath(jsonpath, document, budget(), settings.eventmatch.jsonpath_max_length)


def trace_shown(jsonpath: str, trace: Trace, max_steps: int) -> dict[str, Any]:
    """Return a trace as it is answered."""
    return {
        "matches": trace.result is TraceResult.MATCH,
        "indexed": is_indexed(jsonpath),
        "budget": max_steps,
        **asdict(trace),
        "found": [_shown(each) for each in trace.found],
    }


def budget() -> int:
    """Return how many steps a trace may take."""
    return min(context().settings.matching.budget, MAX_BUDGET)


def _shown(found: Found) -> dict[str, Any]:
    """Return a found value as JSON text, of which a long one is cut."""
    text = ""
    for part in json.JSONEncoder().iterencode(found.value):
        text += part
        if len(text) > _MAX_SHOWN:
            break
    return {
        "path": found.path,
        "value": text[:_MAX_SHOWN],
        "truncated": len(text) > _MAX_SHOWN,
    }
