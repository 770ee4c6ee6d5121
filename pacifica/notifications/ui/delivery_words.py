"""Says in words where a delivery is and why, and what each of its attempts did."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.flow import AttemptOutcome, Cause, State
from pacifica.notifications.reasons import MEANINGS, Reason
from pacifica.notifications.rest.paging import moment
from pacifica.notifications.subscriptions import PULL_URL

#: States in words, in the order in which the filter offers them.
STATE_WORDS: Final = {
    State.DELIVERED: "Delivered",
    State.ALLOWED: "Being sent",
    State.AVAILABLE: "Waits to be fetched",
    State.MATCHED: "Waits for Policy",
    State.COLLECTED: "Waits for the next mail",
    State.HELD: "Held",
    State.FAILED: "Given up",
    State.EXPIRED: "Kept for too long",
    State.DROPPED: "Dropped",
    State.DENIED: "Denied",
}
#: Why an attempt was made.
_CAUSES: Final = {
    Cause.AUTOMATIC: "by itself",
    Cause.PROBE: "to find out whether the receiver works again",
    Cause.RESEND: "because you sent it again",
    Cause.REPLAY: "by a replay",
    Cause.TEST: "as a test",
}
_OUTCOMES: Final = {
    AttemptOutcome.DELIVERED: ("yes", "The receiver took the event."),
    AttemptOutcome.RETRYING: ("failing", "It failed, and another attempt follows."),
    AttemptOutcome.DISABLED: ("disabled", "It failed, and the subscription was disabled."),
    AttemptOutcome.GIVEN_UP: ("no", "It failed, and nothing follows by itself."),
    AttemptOutcome.HELD: ("paused", "It was fetched too often, and is held for you."),
}
_SHAPES: Final = {
    State.DELIVERED: "yes",
    State.MATCHED: "waiting",
    State.ALLOWED: "waiting",
    State.AVAILABLE: "waiting",
    State.COLLECTED: "waiting",
    State.HELD: "paused",
    State.FAILED: "disabled",
    State.EXPIRED: "disabled",
    State.DROPPED: "no",
    State.DENIED: "no",
}
_TRIED_AGAIN: Final = "Tried again"
# What curl sets by itself, or must not be repeated.
_NOT_COPIED: Final = frozenset(
    {"host", "content-length", "accept-encoding", "connection", "expect", "transfer-encoding"}
)
#: A longer event is left out of the command (characters).
MAX_COPIED: Final = 100_000


@dataclass(frozen=True)
class DeliveryShown:
    """A delivery in words: the shape of its icon, its state, why, and what its owner can do.

    `is_under_way` tells that it changes by itself soon.
    """

    shape: str
    word: str
    reason: str
    action: str
    latency: str
    is_under_way: bool


def delivery_shown(delivery: Mapping[str, Any]) -> DeliveryShown:
    """Return a delivery of the API in words."""
    state, reason = State(delivery["state"]), Reason(delivery["reason"])
    word, shape = STATE_WORDS[state], _SHAPES[state]
    if reason is Reason.RETRYING:
        word, shape = _TRIED_AGAIN, "failing"
    meaning = MEANINGS[reason]
    return DeliveryShown(
        shape,
        word,
        in_plain_words(meaning.meaning),
        in_plain_words(meaning.action.removeprefix("Nothing. ")),
        duration(delivery["latency"]),
        state in (State.MATCHED, State.ALLOWED, State.COLLECTED),
    )


def in_plain_words(text: str) -> str:
    """Return a text of the API in the words of the page."""
    return text.replace("JSONPath", "expression").replace("target", "receiver")


def duration(milliseconds: int | None) -> str:
    """Return a time such as `340 ms`, `2.1 s`, `3 min` or `5 h`; empty for None."""
    if milliseconds is None:
        return ""
    seconds = milliseconds / 1000
    if seconds < 1:
        return f"{milliseconds} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"


def status_words(status: int | None) -> str:
    """Return a status with its phrase, such as `503 Service Unavailable`; empty for None."""
    if status is None:
        return ""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


@dataclass(frozen=True)
class AttemptShown:
    """An attempt in words; headers are pairs, and `curl` is empty where it cannot be repeated.

    `next_attempt` is when another one follows, as text or None.
    """

    number: int
    started: str
    shape: str
    outcome: str
    cause: str
    status: str
    duration: str
    url: str
    address: str
    request: Sequence[Sequence[str]]
    response: Sequence[Sequence[str]]
    body: str
    is_withheld: bool
    truncated: bool
    next_attempt: str | None
    curl: str


def attempt_words(attempt: Mapping[str, Any], content: Any = None) -> AttemptShown:
    """Return an attempt of the API in words; `content` is the event as it was sent."""
    shape, outcome = _OUTCOMES[AttemptOutcome(attempt["outcome"])]
    status = attempt["status"]
    headers = attempt["request_headers"] or ()
    is_fetched = attempt["url"] == PULL_URL
    return AttemptShown(
        attempt["number"],
        attempt["started"],
        shape,
        outcome,
        _CAUSES[Cause(attempt["trigger"])],
        "" if is_fetched else status_words(status) or "no answer",
        duration(attempt["duration"]),
        attempt["url"],
        attempt["address"] or "",
        headers,
        attempt["response_headers"] or (),
        attempt["body"] or "",
        attempt["body"] is None,
        attempt["truncated"],
        attempt["next_attempt"],
        "" if content is None or is_fetched else curl(attempt["url"], headers, content),
    )


def curl(url: str, headers: Sequence[Sequence[str]], content: Any) -> str:
    """Return the command that sends a request once more; masked values stay masked.

    Empty if the event is too long to be copied.
    """
    is_binary = any(name.lower().startswith("ce-") for name, _ in headers)
    body = content.get("data") if is_binary and isinstance(content, dict) else content
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    if len(text) > MAX_COPIED:
        return ""
    lines = [f"curl -X POST {shlex.quote(url)}"]
    lines += [
        f"-H {shlex.quote(f'{name}: {value}')}"
        for name, value in headers
        if name.lower() not in _NOT_COPIED
    ]
    lines.append(f"--data-raw {shlex.quote(text)}")
    return " \\\n  ".join(lines)


def as_input(text: str) -> str:
    """Return a time as a field of a form has it, such as `2026-11-24T02:50`; empty if it is none.

    The field is in UTC; scripts show it in the reader's zone.
    """
    try:
        return moment(text, "").strftime("%Y-%m-%dT%H:%M")
    except InvalidInput:
        return ""
