"""How an event and its matches are printed."""

import json

from pacifica.notifications.delivery.answers import shown
from pacifica.notifications.store.events import LoggedEvent, LoggedMatch


def shown_event(event: LoggedEvent) -> str:
    """Return an event, its JSON and its matches, for people to read."""
    lines = [f"event {event.uuid} received {event.created.isoformat(timespec='seconds')}Z"]
    lines += ["  " + line for line in _document(event.text).splitlines()]
    lines += [_shown_match(match) for match in event.matches]
    if not event.matches:
        lines.append("  no matches" if event.dispatched else "  not dispatched yet")
    return "\n".join(lines)


def printable(text: str, encoding: str | None) -> str:
    """Return a text with escapes for what an output of that encoding cannot show.

    A lone surrogate, which JSON may hold and UTF-8 may not, is then shown as JSON has it.
    """
    name = encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def _document(text: str) -> str:
    """Return an event's JSON, spread over lines; as it is where an old version left it cut off."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _shown_match(match: LoggedMatch) -> str:
    return (
        f"  match {match.uuid}: {match.state}\n"
        f"    subscription {match.subscription} ({match.name}) of {match.user}\n"
        f"    policy: {_shown_answer(match.policy_status, match.policy_body)}\n"
        f"    target: {_shown_answer(match.target_status, match.target_body)}"
    )


def _shown_answer(status: str, body: str) -> str:
    return f"{status or '-'} {shown(body)}".rstrip()
