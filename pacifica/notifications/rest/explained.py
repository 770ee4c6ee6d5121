"""An explanation as it is answered by the API and by the command line."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pacifica.notifications.errors import ExpressionError
from pacifica.notifications.events import EventSummary
from pacifica.notifications.explanation import (
    Explanation,
    PairFacts,
    Step,
    StepName,
    explain,
    first_hint,
)
from pacifica.notifications.matching import Trace, TraceResult
from pacifica.notifications.reasons import MEANINGS, Reason
from pacifica.notifications.rest import paging
from pacifica.notifications.rest.deliveries import event_shown
from pacifica.notifications.rest.expressions import trace_shown
from pacifica.notifications.rest.sightings import Sighting


@dataclass
class Tracing:
    """Traces JSONPaths on an event with a budget of steps, each of them once."""

    budget: int
    trace: Callable[[str], Trace]
    _traces: dict[str, Trace | None] = field(default_factory=dict)

    def result_of(self, jsonpath: str) -> TraceResult:
        """Return whether the event matches a JSONPath."""
        found = self.trace_of(jsonpath)
        return TraceResult.ERROR if found is None else found.result

    def trace_of(self, jsonpath: str) -> Trace | None:
        """Return the trace of a JSONPath; None if it does not parse."""
        if jsonpath not in self._traces:
            try:
                self._traces[jsonpath] = self.trace(jsonpath)
            except ExpressionError:  # an older version accepted it
                self._traces[jsonpath] = None
        return self._traces[jsonpath]


def explained(sighting: Sighting, facts: PairFacts, tracing: Tracing) -> dict[str, Any]:
    """Return as JSON why an event did or did not reach a subscription.

    Without its content, where the caller may not read it.
    """
    explanation = explain(facts, tracing.result_of)
    event = sighting.event
    about = event.about if sighting.is_readable else EventSummary()
    used = explanation.revision
    trace = tracing.trace_of(used.jsonpath) if used and sighting.is_readable else None
    details: dict[StepName, dict[str, Any]] = {
        StepName.MATCHED: {
            "revision": used and used.revision,
            "jsonpath": used and used.jsonpath,
            "trace": trace_shown(used.jsonpath, trace, tracing.budget) if used and trace else None,
        },
        StepName.POLICY: {"status": _policy_status(facts)},
        StepName.DELIVERY: _delivery(facts),
    }
    return {
        "subscription": str(facts.subscription.uuid),
        "event": event_shown(event.uuid, about, event.received),
        "withheld": not sighting.is_readable,
        "count": sighting.count,
        "outcome": explanation.result,
        "reason": explanation.reason,
        "meaning": MEANINGS[explanation.reason].meaning,
        "hint": _hint(explanation, trace),
        "steps": [{**_step(each), **details.get(each.name, {})} for each in explanation.steps],
        "copies": {
            "count": facts.copies,
            "newest": paging.iso(facts.copied),
            "reason": Reason.DUPLICATE if facts.copies else None,
        },
    }


def _hint(explanation: Explanation, trace: Trace | None) -> str:
    found = first_hint(trace) if trace and explanation.reason is Reason.NO_MATCH else None
    return f"{explanation.hint} {found}." if found else explanation.hint


def _step(step: Step) -> dict[str, Any]:
    return {"step": step.name, "verdict": step.verdict, "time": paging.iso(step.time)}


def _policy_status(facts: PairFacts) -> int | None:
    status = facts.delivery.policy_status if facts.delivery else ""
    return int(status) if status.isdecimal() else None


def _delivery(facts: PairFacts) -> dict[str, Any]:
    found = facts.delivery
    status = found.status if found else ""
    return {
        "delivery": found and str(found.uuid),
        "state": found and found.state,
        "attempts": found.tries if found else 0,
        "status": int(status) if status.isdecimal() else None,
        "next_attempt": paging.iso(found.due) if found else None,
    }
