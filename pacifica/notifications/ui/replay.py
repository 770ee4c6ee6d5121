"""The screens of replays: ask for one, count first, start it, watch it, and cancel it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import IdempotencyMismatch, InvalidInput, JobConflict
from pacifica.notifications.flow import State
from pacifica.notifications.rest import replays
from pacifica.notifications.rest.access import Access, require_owned
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.stages.replay import REPLAYED_STATES
from pacifica.notifications.store.jobs import cancel
from pacifica.notifications.ui.deliveries import STATUSES, about
from pacifica.notifications.ui.delivery_words import STATE_WORDS, as_input
from pacifica.notifications.ui.screens import ANY, Page, Redirect, Route, Visit

MODES: Final = {
    "failed": ("What was given up", "Deliveries that failed for good, or were held for too long."),
    "missing": (
        "What is missing",
        "Events that match and were never sent, such as those from before the subscription.",
    ),
    "all": ("Everything", "All of these, and also what arrived. The receiver gets that twice."),
}
MATCHES: Final = {
    "then": ("As it was", "Events that matched the expression that the subscription had then."),
    "now": ("As it is now", "Events that match the present expression."),
}
STATES: Final = {
    "running": ("waiting", "Running"),
    "finished": ("done", "Finished"),
    "cancelled": ("no", "Cancelled"),
    "failed": ("disabled", "Failed"),
}
_WAITS: Final = {
    "policy": "It waits for Policy, which does not answer.",
    "subscription": "It waits until you enable the subscription.",
    "deliveries": "It waits for its last deliveries.",
    "other_events": "New events go first.",
}
_STOPS: Final = {
    "events": "It looked at as many events as one replay may. Replay the rest with a later start.",
    "deliveries": "It made as many deliveries as one replay may. Replay the rest with a later "
    "start.",
    "deleted": "The subscription was deleted.",
}
# What narrows a replay.
_ONLY: Final = ("delivery_state", "type", "status")
_LISTED: Final = "10"
_DAY = timedelta(days=1)


def show(visit: Visit, subscription: str) -> Page:
    """Show the form, and the last replays."""
    access = require_owned(subscription)
    values = {
        "from": visit.query.get("from", "") or (utcnow() - _DAY).isoformat(),
        "to": visit.query.get("to", ""),
        "mode": visit.query.get("mode", "failed"),
        "match": visit.query.get("match", "then"),
        **{name: visit.query.get(name, "") for name in _ONLY},
    }
    return _form(access, values)


def begin(visit: Visit, subscription: str) -> Page | Redirect:
    """Begin a replay, or only count; show the form again if that is not possible."""
    access = require_owned(subscription)
    form = visit.form
    body = {
        "from": form.get("from", ""),
        "to": form.get("to") or None,
        "mode": form.get("mode", ""),
        "match": form.get("match", "then"),
        "dry_run": "dry_run" in form,
        **{name: form[name] for name in _ONLY if form.get(name)},
    }
    try:
        replays.check(body)
        job = replays.begin(access, body, form.get("key") or str(uuid4()))
    except InvalidInput as error:
        problems = {name: f"{said[:1].upper()}{said[1:]}." for name, said in error.problems}
        return _form(access, {**form}, problems, 400)
    except (JobConflict, IdempotencyMismatch) as error:
        said = str(error)
        if isinstance(error, IdempotencyMismatch):
            said = "this form was sent before with other values: send it once more"
        return _form(access, {**form}, {"": f"{said[:1].upper()}{said[1:]}."}, 409)
    return Redirect(f"subscriptions/{access.uuid}/replays/{job.uuid}")


def show_one(visit: Visit, subscription: str, replay: str) -> Page:  # noqa: ARG001
    """Show how far a replay is; after a count, offer to start."""
    uuid = uuid_of(replay)
    access = require_owned(subscription)
    found = replays.shown(replays.found(access, uuid))
    return Page(
        "replay.html",
        {
            **about(access),
            "tab": "replay",
            "replay": in_words(found),
            # The same for each reading of a count, so that a form that is sent twice starts once.
            "key": f"after {uuid}",
        },
    )


def stop(visit: Visit, subscription: str, replay: str) -> Redirect:  # noqa: ARG001
    """Cancel a replay; what is under way is still delivered."""
    uuid = uuid_of(replay)
    access = require_owned(subscription)
    cancel(replays.found(access, uuid))
    return Redirect(f"subscriptions/{access.uuid}/replays/{uuid}")


ROUTES: Final = (
    Route("GET", f"subscriptions/{ANY}/replay", show),
    Route("POST", f"subscriptions/{ANY}/replay", begin),
    Route("GET", f"subscriptions/{ANY}/replays/{ANY}", show_one),
    Route("POST", f"subscriptions/{ANY}/replays/{ANY}/cancel", stop),
)


def in_words(replay: Mapping[str, Any]) -> dict[str, Any]:
    """Return a replay of the API with its state, mode and waits in words."""
    shape, word = STATES[replay["state"]]
    return {
        **replay,
        "shape": shape,
        "word": word,
        "is_running": replay["state"] == "running",
        "mode_word": MODES[replay["mode"]][0],
        "match_word": MATCHES[replay["match"]][0],
        "only": {name: replay[name] for name in _ONLY if replay[name]},
        "only_words": _only_words(replay),
        "waits": _WAITS.get(replay["waits_for"] or "", ""),
        "stopped": _STOPS.get(replay["stopped_by"] or "", ""),
        "percent": round(replay["progress"] * 100),
    }


def _only_words(replay: Mapping[str, Any]) -> str:
    """Return what narrows a replay in words, such as `given up, answered 4xx: refused`."""
    state, kind, status = (replay[name] for name in _ONLY)
    words = [
        STATE_WORDS[State(state)].lower() if state else "",
        f"of type {kind}" if kind else "",
        f"answered {STATUSES.get(status, status)}" if status else "",
    ]
    return ", ".join(filter(None, words))


def _form(
    access: Access,
    values: Mapping[str, str],
    problems: Mapping[str, str] | None = None,
    status: int = 200,
) -> Page:
    recent = replays.page_of(access, {"limit": _LISTED})["items"]
    return Page(
        "replay_form.html",
        {
            **about(access),
            "tab": "replay",
            "values": values,
            "moments": {name: as_input(values.get(name, "")) for name in ("from", "to")},
            "key": str(uuid4()),
            "modes": MODES,
            "matches": MATCHES,
            "states": [(str(each), STATE_WORDS[each]) for each in REPLAYED_STATES],
            "statuses": STATUSES,
            "is_narrowed": any(values.get(name) or name in (problems or {}) for name in _ONLY),
            "problems": problems or {},
            "recent": [in_words(each) for each in recent],
        },
        status,
    )
