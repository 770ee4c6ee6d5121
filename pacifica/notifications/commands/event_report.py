"""Prints an event and its matches for people to read."""

import json

from pacifica.notifications.delivery import single_line
from pacifica.notifications.store.events import LoggedEvent, LoggedMatch


def event_report(event: LoggedEvent) -> str:
    """Return an event, its JSON and its matches, for people to read."""
    lines = [f"event {event.uuid} received {event.created.isoformat(timespec='seconds')}Z"]
    lines += ["  " + line for line in _document(event.text).splitlines()]
    lines += [_match_lines(match) for match in event.matches]
    if not event.matches:
        lines.append("  no matches" if event.dispatched else "  not dispatched yet")
    return "\n".join(lines)


def printable(text: str, encoding: str | None) -> str:
    """Return a text with escapes for characters that an encoding cannot represent.

    A lone surrogate, which JSON may hold and UTF-8 may not, is printed as an escape.
    """
    name = encoding or "utf-8"
    return text.encode(name, "backslashreplace").decode(name)


def _document(text: str) -> str:
    """Return an event's JSON on several lines; unchanged if an older version cut it off."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _match_lines(match: LoggedMatch) -> str:
    return (
        f"  match {match.uuid}: {match.state}\n"
        f"    subscription {match.subscription} ({match.name}) of {match.user}\n"
        f"    policy: {_response(match.policy_status, match.policy_body)}\n"
        f"    target: {_response(match.target_status, match.target_body)}"
    )


def _response(status: str, body: str) -> str:
    return f"{status or '-'} {single_line(body)}".rstrip()
