"""Says in words how a subscription is doing, and what its owner can do about it."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from pacifica.notifications.rest.operating import PAUSED
from pacifica.notifications.store.overview import Hour, Overview, Standing

# As delivery.outcome writes the error of a delivery.
_FAILED: Final = re.compile(
    r"\S+Z: POST of event \S+ to (?P<url>\S+) failed after \d+ attempts?: (?P<said>.*)",
    re.DOTALL,
)
_STATUS: Final = re.compile(r"status (?P<status>\d{3})")
_JSONPATH: Final = re.compile("JSONPath|steps|expression", re.IGNORECASE)
_UNKNOWN_USER: Final = "Policy does not know the user"
_BY_STATUS: Final = {
    "401": "The receiver does not accept the sign-in. Edit the subscription and enter it again.",
    "403": "The receiver refuses the sign-in. Edit the subscription and enter it again.",
    "404": "The receiver knows no such address. Edit the subscription and correct the address.",
    "405": "This address takes no events. Edit the subscription and correct the address.",
    "410": "The receiver says that it is gone for good. Enter another address, or delete the "
    "subscription.",
    "415": "The receiver does not understand this form of events. Ask those who run it, or choose "
    "another form.",
}
_ASK_OPERATORS: Final = "Ask those who run this service why, before you enable it again."
_EXPRESSION_AT_FAULT: Final = (
    "The expression failed on an event. Try it in the workbench, correct it, and enable the "
    "subscription again."
)
_OTHERWISE: Final = (
    "Check that the receiver works and that its address is right. Then enable the subscription "
    "again."
)


@dataclass(frozen=True)
class StateShown:
    """How a subscription is doing: `shape` names its icon, `since` and `next_try` are UTC.

    `word` is the state, `reason` what went wrong, `advice` what to do, each of them empty if there
    is nothing to say. `details` is the error as it is on record.
    """

    shape: str
    word: str
    since: datetime | None = None
    reason: str = ""
    next_try: datetime | None = None
    advice: str = ""
    details: str = ""


def state_shown(overview: Overview) -> StateShown:
    """Return how a subscription is doing."""
    subscription = overview.subscription
    since = _moment(subscription["disabled"])
    error = subscription["error"] or ""
    shape = overview.standing.value
    if overview.standing is Standing.DELIVERING:
        return StateShown(shape, "Delivering")
    if overview.standing is Standing.PAUSED:
        if error.startswith(PAUSED):
            return StateShown(shape, PAUSED, since, advice=_ASK_OPERATORS)
        return StateShown(shape, "Paused by you", since)
    if overview.standing is Standing.FAILING:
        advice = "It is tried again by itself, and what waits is kept. You need not do anything."
        return StateShown(
            shape, "Failing", since, reason_of(error), overview.next_try, advice, error
        )
    return StateShown(shape, "Disabled", since, reason_of(error), None, advice_on(error), error)


def reason_of(error: str) -> str:
    """Return what went wrong in a few words, such as `503 from workflow.example.org`."""
    found = _FAILED.fullmatch(error)
    if found is None:
        return error
    host = host_of(found["url"])
    answered = _STATUS.match(found["said"])
    return f"{answered['status']} from {host}" if answered else f"{found['said']} ({host})"


def advice_on(error: str) -> str:
    """Return what the owner of a subscription can do about its error."""
    found = _FAILED.fullmatch(error)
    answered = _STATUS.match(found["said"]) if found else None
    if answered:
        return _BY_STATUS.get(answered["status"], _OTHERWISE)
    if found is None and error.startswith(_UNKNOWN_USER):
        return "Ask whoever runs Pacifica here to add you as a user, and enable it again."
    if found is None and _JSONPATH.search(error):
        return _EXPRESSION_AT_FAULT
    return _OTHERWISE


def host_of(url: str) -> str:
    """Return the host of a URL, with its port if it names one, or the address of a mail."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or url.removeprefix("mailto:")
    except ValueError:
        return url


@dataclass(frozen=True)
class Chart:
    """The last hours as bars, each kind of them as one path of SVG, and their totals."""

    delivered_path: str
    failed_path: str
    delivered: int
    failed: int


# Pixels; a bar stands on `_BASE`.
_STEP, _WIDTH, _HEIGHT, _BASE = 5, 4, 28, 30


def chart_of(hours: tuple[Hour, ...]) -> Chart:
    """Return the bars of the last hours; the highest fills the chart."""
    highest = max((each.delivered + each.failed for each in hours), default=0)
    delivered_bars, failed_bars = [], []
    for number, each in enumerate(hours):
        delivered, failed = (_height(n, highest) for n in (each.delivered, each.failed))
        delivered_bars.append(_bar(number, _BASE, delivered))
        failed_bars.append(_bar(number, _BASE - delivered, failed))
    return Chart(
        "".join(delivered_bars),
        "".join(failed_bars),
        sum(each.delivered for each in hours),
        sum(each.failed for each in hours),
    )


def _bar(number: int, bottom: int, height: int) -> str:
    if not height:
        return ""
    return f"M{number * _STEP} {bottom}v-{min(height, bottom)}h{_WIDTH}V{bottom}z"


def _height(number: int, highest: int) -> int:
    """Return a height that shows also a single one among many."""
    return max(round(_HEIGHT * number / highest), 2) if number else 0


def _moment(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
