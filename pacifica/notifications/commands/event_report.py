"""Formats an event and its matches as text and as JSON."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import UUID

from pacifica.notifications.delivery import single_line
from pacifica.notifications.flow import Deferral, Settlement
from pacifica.notifications.rest.deliveries import attempt_shown
from pacifica.notifications.store.events import LoggedEvent, LoggedMatch
from pacifica.notifications.store.history import LoggedAttempt

#: The attempts of deliveries on record, by their ids.
AttemptsOf = Mapping[UUID, Sequence[LoggedAttempt]]
_NONE: AttemptsOf = MappingProxyType({})


def event_report(event: LoggedEvent, attempts: AttemptsOf = _NONE) -> str:
    """Return a readable report of an event, its JSON and its matches."""
    lines = [f"event {event.uuid} received {event.created.isoformat(timespec='seconds')}Z"]
    lines += ["  " + line for line in _document(event.text).splitlines()]
    lines += [_match_lines(match, attempts.get(match.uuid, ())) for match in event.matches]
    lines += [_deferral_line(deferral) for deferral in event.deferrals]
    if not (event.matches or event.deferrals):
        lines.append(f"  {_without_matches(event)}")
    return "\n".join(lines)


def event_document(event: LoggedEvent, attempts: AttemptsOf = _NONE) -> dict[str, Any]:
    """Return an event and its matches as a JSON object; an event that is cut short is a string."""
    try:
        document = json.loads(event.text)
    except (ValueError, RecursionError):
        document = event.text
    return {
        "uuid": str(event.uuid),
        "received": f"{event.created.isoformat(timespec='microseconds')}Z",
        "dispatched": event.dispatched,
        "settlement": event.settlement,
        "event": document,
        "matches": [
            {
                **_match_document(match),
                "attempts": [_attempt(e) for e in attempts.get(match.uuid, ())],
            }
            for match in event.matches
        ],
        "deferred": [
            {
                "user": each.user,
                "subscriptions": [str(uuid) for uuid in each.subscriptions],
                "waits_for": "owner" if each.parked else "turn",
            }
            for each in event.deferrals
        ],
    }


def _without_matches(event: LoggedEvent) -> str:
    match event.settlement:
        case Settlement.UNSETTLED | Settlement.SETTLING | Settlement.UNANSWERED:
            again = f"{event.settle_due:%Y-%m-%dT%H:%M:%SZ}"
            return f"{event.settlement}: not dispatched until Metadata shows it; asked at {again}"
        case Settlement.EXPIRED:
            return "expired: not dispatched, as Metadata never showed it"
    return "no matches" if event.dispatched else "not dispatched yet"


def printable(text: str, encoding: str | None) -> str:
    """Return a text with escapes for characters that an encoding cannot represent.

    A lone surrogate is allowed in JSON but not in UTF-8, so it becomes an escape.
    """
    name = encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def _document(text: str) -> str:
    """Return an event's JSON, indented; unchanged if an older version truncated it."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _match_document(match: LoggedMatch) -> dict[str, Any]:
    return {
        "uuid": str(match.uuid),
        "state": match.state,
        "subscription": str(match.subscription),
        "name": match.name,
        "user": match.user,
        "policy": {"status": match.policy_status, "body": match.policy_body},
        "target": {"status": match.target_status, "body": match.target_body},
    }


def _match_lines(match: LoggedMatch, attempts: Sequence[LoggedAttempt]) -> str:
    lines = (
        f"  match {match.uuid}: {match.state}\n"
        f"    subscription {match.subscription} ({match.name}) of {match.user}\n"
        f"    policy: {_response(match.policy_status, match.policy_body)}\n"
        f"    target: {_response(match.target_status, match.target_body)}"
    )
    return "\n".join([lines, *map(_attempt_line, attempts)])


def _attempt_line(each: LoggedAttempt) -> str:
    answered = each.status if each.status is not None else single_line(each.body)
    return (
        f"    attempt {each.number} ({each.cause}) {each.started.isoformat(timespec='seconds')}Z, "
        f"{each.milliseconds} ms: {answered}, {each.outcome}"
    )


def _attempt(each: LoggedAttempt) -> dict[str, Any]:
    return attempt_shown(each, with_content=True)


def _deferral_line(deferral: Deferral) -> str:
    until = "once corrected and enabled" if deferral.parked else "soon"
    subscriptions = ", ".join(str(each) for each in deferral.subscriptions)
    return f"  to be matched {until}, for {deferral.user}: {subscriptions}"


def _response(status: str, body: str) -> str:
    return f"{status or '-'} {single_line(body)}".rstrip()
