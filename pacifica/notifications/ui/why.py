"""The screen that says why an event did or did not reach a subscription."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pacifica.notifications.explanation import StepName, StepVerdict
from pacifica.notifications.flow import State
from pacifica.notifications.reasons import MEANINGS, Reason
from pacifica.notifications.rest import events
from pacifica.notifications.rest.access import require_readable
from pacifica.notifications.rest.context import context
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.explain import explanation_of
from pacifica.notifications.rest.explained import Tracing
from pacifica.notifications.rest.sightings import seen_by
from pacifica.notifications.store.subscriptions import page_of_user
from pacifica.notifications.ui.delivery_words import STATE_WORDS, in_plain_words, status_words
from pacifica.notifications.ui.screens import Page, Route, Visit
from pacifica.notifications.ui.trace_words import Explanation, explained

#: So many of a user's subscriptions can be chosen: the oldest.
MAX_CHOICES: Final = 200
_MAX_NAME = 2048
_STEPS: Final = {
    StepName.RECEIVED: "Received",
    StepName.SETTLED: "Committed by Metadata",
    StepName.MATCHED: "Matched by the expression",
    StepName.POLICY: "Allowed by Policy",
    StepName.DELIVERY: "Delivered",
}
_VERDICTS: Final = {
    StepVerdict.PASSED: ("yes", "passed"),
    StepVerdict.STOPPED: ("disabled", "ended here"),
    StepVerdict.WAITING: ("waiting", "waits here"),
    StepVerdict.NOT_REACHED: ("no", "not reached"),
}
_OUTCOMES: Final = {
    "delivered": ("yes", "It was delivered."),
    "waiting": ("waiting", "It is on its way."),
    "not delivered": ("disabled", "It was not delivered."),
}


# What to do on this page, where the words of the API name its resources.
_ACTIONS: Final = {
    Reason.NO_MATCH: "Below, look for the part of the expression that lets nothing through. Try a "
    "fix in the workbench, save it, and replay what was missed.",
    Reason.UNRECORDED: "Try the expression on the event in the workbench, and replay the event.",
}


@dataclass(frozen=True)
class StepShown:
    """A step in words: the shape of its icon, its title, what became of the event, and when."""

    shape: str
    title: str
    verdict: str
    time: str | None
    is_stop: bool
    details: str


@dataclass(frozen=True)
class Answer:
    """Why an event did or did not reach one subscription."""

    uuid: str
    name: str
    shape: str
    headline: str
    meaning: str
    hint: str
    steps: tuple[StepShown, ...]
    trace: Explanation | None
    jsonpath: str
    delivery: str | None
    event: Mapping[str, Any]
    count: int
    copies: Mapping[str, Any]


def show(visit: Visit) -> Page:
    """Show the form, and the answer if an event is named."""
    name = visit.query.get("event", "").strip()
    chosen = visit.query.get("subscription", "")
    values: dict[str, Any] = {
        "here": "why",
        "event": name,
        "chosen": chosen,
        "choices": subscriptions_of(visit.user),
        "answer": None,
        "summary": None,
        "problem": "",
        "problem_at": "",
    }
    if not name:
        return Page("why.html", values)
    if len(name) > _MAX_NAME:
        return Page("why.html", {**values, "problem": "This is too long to be an id."}, 400)
    try:
        with context().searches.admitted(visit.user):
            if chosen:
                values["answer"] = _answer(chosen, name)
            else:
                values["summary"] = _summary(visit.user, name)
    except ApiError as error:
        if error.code != 403:
            raise
        return Page("why.html", {**values, "problem": "unknown"}, 403)
    return Page("why.html", values)


ROUTES: Final = (Route("GET", "why", show),)


def subscriptions_of(user: str) -> list[tuple[str, str]]:
    """Return the ids and names of a user's subscriptions, up to `MAX_CHOICES`."""
    page = page_of_user(user, MAX_CHOICES)
    return [(each["uuid"], each["name"]) for each in page.subscriptions]


def _summary(user: str, name: str) -> dict[str, Any]:
    """Return an event with what became of it for each subscription of the user."""
    found = events.one_of(user, seen_by(user, name))
    matched = [
        {**each, "word": STATE_WORDS[State(each["state"])], "meaning": _meaning(each["reason"])}
        for each in found["matched"]
    ]
    return {**found, "matched": matched}


def _answer(subscription: str, name: str) -> Answer:
    access = require_readable(subscription, "explanation read")
    found, tracing = explanation_of(access, name)
    steps = {StepName(each["step"]): each for each in found["steps"]}
    matched, delivery = steps[StepName.MATCHED], steps[StepName.DELIVERY]
    shape, headline = _OUTCOMES[found["outcome"]]
    return Answer(
        found["subscription"],
        access.subscription["name"],
        shape,
        headline,
        in_plain_words(found["meaning"]),
        _ACTIONS.get(Reason(found["reason"]), in_plain_words(found["hint"])),
        tuple(_step(name, each) for name, each in steps.items()),
        _trace(matched, tracing),
        matched["jsonpath"] or access.subscription["jsonpath"],
        delivery["delivery"],
        found["event"],
        found["count"],
        found["copies"],
    )


def _step(name: StepName, step: Mapping[str, Any]) -> StepShown:
    verdict = StepVerdict(step["verdict"])
    shape, word = _VERDICTS[verdict]
    details = ""
    if name is StepName.DELIVERY and step["attempts"]:
        attempts = step["attempts"]
        answered = status_words(step["status"]) or "no answer"
        details = f"{attempts} {'attempt' if attempts == 1 else 'attempts'}, last: {answered}"
    is_stop = verdict in (StepVerdict.STOPPED, StepVerdict.WAITING)
    return StepShown(shape, _STEPS[name], word, step["time"], is_stop, details)


def _trace(matched: Mapping[str, Any], tracing: Tracing) -> Explanation | None:
    """Return what the expression of that time let through, in words; None if it is not shown."""
    if not matched["trace"]:
        return None
    trace = tracing.trace_of(matched["jsonpath"])
    return None if trace is None else explained(trace)


def _meaning(reason: str) -> str:
    return in_plain_words(MEANINGS[Reason(reason)].meaning)
