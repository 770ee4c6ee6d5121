"""The panel of the workbench that counts what an expression would have matched, day by day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from pacifica.notifications.clock import utcnow
from pacifica.notifications.errors import InvalidInput, JobConflict
from pacifica.notifications.rest import backtests
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.store.jobs import cancel
from pacifica.notifications.ui.replay import STATES
from pacifica.notifications.ui.screens import ANY, Page, Route, Visit

#: The periods that can be chosen, in days.
PERIODS: Final = {"1": "the last day", "7": "the last week", "30": "the last 30 days"}
_DEFAULT_PERIOD: Final = "7"
_STOPS: Final = {
    "events": "There are more events than one count looks at. The rest of the time is not counted.",
    "matches": "There are more events that match than one count takes. The rest is not counted.",
}
_UNREADABLE: Final = "Write an expression that can be read first."
_INCOMPARABLE: Final = "This cannot be compared with that subscription. Choose another one."
_WIDTH, _HEIGHT, _BASE, _GAP = 360, 60, 62, 3
# Days that are drawn.
_MAX_DAYS: Final = 31


@dataclass(frozen=True)
class Day:
    """One day of the chart: its bar (pixels), and its counts."""

    day: date
    x: int
    y: int
    height: int
    matched: int
    gained: int
    lost: int


@dataclass(frozen=True)
class Calendar:
    """What an expression would have matched; `days` are the chart, oldest first.

    `is_compared` tells that there are numbers gained and lost against a stored expression.
    """

    uuid: str
    shape: str
    word: str
    is_running: bool
    percent: int
    jsonpath: str
    matched: int
    gained: int
    lost: int
    errors: int
    is_compared: bool
    days: tuple[Day, ...]
    examples: Sequence[Mapping[str, Any]]
    withheld: bool
    note: str

    @property
    def bar(self) -> int:
        """The width of a bar (pixels)."""
        return _WIDTH // max(len(self.days), 1) - _GAP


@dataclass(frozen=True)
class Panel:
    """The panel: what was chosen in it, and what came of it."""

    period: str = _DEFAULT_PERIOD
    against: str = ""
    calendar: Calendar | None = None
    problem: str = ""


def panel_of(user: str, form: Mapping[str, str], jsonpath: str) -> Panel:
    """Do what a button of the panel says: count, cancel, or look again."""
    period = form.get("period", _DEFAULT_PERIOD)
    period = period if period in PERIODS else _DEFAULT_PERIOD
    against = form.get("against", "")
    action, before = form.get("count", ""), form.get("counted", "")
    problem = ""
    if action == "yes":
        try:
            job = _begun(user, jsonpath, period, against)
            return Panel(period, against, calendar_of(backtests.shown(job)))
        except InvalidInput as error:
            at_fault = {field for field, _ in error.problems}
            problem = _UNREADABLE if "jsonpath" in at_fault else _INCOMPARABLE
        except JobConflict:
            problem = "Another count of yours is running. Cancel it, or wait for it."
            before = before or _running(user)
    if not before:
        return Panel(period, against, None, problem)
    try:
        job = backtests.found(user, uuid_of(before))
    except ApiError:
        return Panel(period, against, None, problem)
    if action == "cancel":
        job = cancel(job)
    return Panel(period, against, calendar_of(backtests.shown(job)), problem)


def show(visit: Visit, backtest: str) -> Page:
    """Return how far a count is, for the panel."""
    job = backtests.found(visit.user, uuid_of(backtest))
    panel = Panel(calendar=calendar_of(backtests.shown(job)))
    return Page(
        "calendar_result.html", {"panel": panel, "root": "./"}
    )  # it is put into the workbench


ROUTES: Final = (Route("GET", f"workbench/counts/{ANY}", show),)


def calendar_of(backtest: Mapping[str, Any]) -> Calendar:
    """Return a backtest of the API as it is drawn."""
    shape, word = STATES[backtest["state"]]
    note = _STOPS.get(backtest["stopped_by"] or "", "")
    if backtest["waits_for"]:
        note = "It waits for Policy, which does not answer."
    return Calendar(
        backtest["uuid"],
        shape,
        word,
        backtest["state"] == "running",
        round(backtest["progress"] * 100),
        backtest["jsonpath"],
        backtest["matched"],
        backtest["gained"] or 0,
        backtest["lost"] or 0,
        backtest["errors"],
        backtest["gained"] is not None,
        _days(backtest),
        backtest["examples"],
        backtest["withheld"],
        note,
    )


def _begun(user: str, jsonpath: str, period: str, against: str) -> Any:
    body: dict[str, Any] = {"from": (utcnow() - timedelta(days=int(period))).isoformat()}
    body["jsonpath"] = jsonpath
    if against:
        body["subscription"] = against
    backtests.check(body)
    return backtests.begin(user, body)


def _running(user: str) -> str:
    page = backtests.page_of(user, {"limit": "10"})["items"]
    return next((str(each["uuid"]) for each in page if each["state"] == "running"), "")


def _days(backtest: Mapping[str, Any]) -> tuple[Day, ...]:
    """Return each day of the period, also those on which nothing matched."""
    counts = {each["day"]: each for each in backtest["days"]}
    first, last = (datetime.fromisoformat(backtest[name]).date() for name in ("from", "to"))
    length = min((last - first).days + 1, _MAX_DAYS)
    highest = max((each["matched"] for each in counts.values()), default=0)
    step = _WIDTH // length
    days = []
    for number in range(length):
        day = last - timedelta(days=length - 1 - number)
        found = counts.get(day.isoformat(), {})
        matched = found.get("matched", 0)
        height = max(round(_HEIGHT * matched / highest), 2) if matched else 0
        gained, lost = found.get("gained") or 0, found.get("lost") or 0
        days.append(Day(day, number * step + 1, _BASE - height, height, matched, gained, lost))
    return tuple(days)
