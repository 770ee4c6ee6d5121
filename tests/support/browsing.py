"""A real browser: Debian's Chromium, driven by Playwright, and what tests do with its pages."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from pacifica.notifications.clock import utcnow
from tests.integration.webservice import Service, running
from tests.support.npm import installed
from tests.support.templates import migrated_database

CHROMIUM = Path(os.environ.get("TEST_CHROMIUM", "/usr/bin/chromium"))
AXE = ("axe-core@4.14.1",)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
#: How wide a page of 1280 pixels is at 400 % zoom (WCAG 2.2, 1.4.10).
ZOOMED = {"width": 320, "height": 256}
Way: TypeAlias = dict[str, Any]
#: In which windows the main task of each screen is done by mouse.
WAYS = pytest.mark.parametrize(
    "way",
    [
        {},
        {"java_script_enabled": False},
        {"viewport": PHONE, "color_scheme": "dark"},
        {"viewport": ZOOMED},
    ],
    ids=["desktop", "no scripts", "dark phone", "zoomed"],
)
#: Milliseconds.
TIMEOUT = 15_000
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_MAX_TABS = 120


def has_scripts(way: Way) -> bool:
    """Return whether scripts run in these windows."""
    return bool(way.get("java_script_enabled", True))


@contextmanager
def chromium() -> Iterator[Any]:
    """Run the browser for the block; skip where it is absent, which is a failure with CI=true."""
    absent = "" if CHROMIUM.exists() else f"there is no {CHROMIUM}"
    with suppress(ImportError):
        from playwright.sync_api import sync_playwright
    if "sync_playwright" not in locals():
        absent = "the package playwright is not installed"
    if absent:
        if os.environ.get("CI") == "true":
            pytest.fail(absent)
        pytest.skip(absent)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_service(folder: Path) -> Iterator[Service]:
    """Run a web server on a database of its own, which `Reader.has` can write to."""
    folder.mkdir(parents=True, exist_ok=True)
    with migrated_database("sqlite", folder) as url:
        environment = {
            "NOTIFICATIONS_CONFIG": str(folder / "config.ini"),
            "NOTIFICATIONS_CPCONFIG": str(folder / "cpconfig.ini"),
            "PEEWEE_URL": url,
            "BROKER_URL": f"filesystem://localhost{folder / 'queue'}",
        }
        (folder / "queue").mkdir()
        with running(environment, folder) as service:
            yield service


@dataclass
class Reader:
    """A person who reads the page in a browser window of their own."""

    service: Service
    browser: Any
    user: str
    options: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def __enter__(self) -> "Reader":
        options = {"viewport": DESKTOP, "locale": "en-GB", "timezone_id": "America/Los_Angeles"}
        self.window = self.browser.new_context(
            extra_http_headers={"Http-Remote-User": self.user}, **{**options, **self.options}
        )
        self.window.set_default_timeout(TIMEOUT)
        self.page = self.window.new_page()
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        return self

    def __exit__(self, *_: object) -> None:
        self.window.close()

    def _heard(self, message: Any) -> None:
        # That a form was refused is what some tests are about.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.complaints.append(message.text)

    def opens(self, path: str = "") -> Any:
        """Open a page below `/ui/`."""
        self.page.goto(f"{self.service.url}/ui/{path}")
        return self.page

    def has_no_horizontal_scrolling(self) -> bool:
        """Tell whether the page is no wider than its window."""
        return self.page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )

    def violations(self) -> list[str]:
        """Return what axe finds wrong with the page."""
        script = installed("axe", AXE) / "axe-core" / "axe.min.js"
        self.page.evaluate(script.read_text(encoding="utf-8"))
        found = self.page.evaluate(
            "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']})", _RULES
        )
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def tabs_to(self, element: Any) -> None:
        """Move the focus to an element by the Tab key alone, and check that it can be seen."""
        for _ in range(_MAX_TABS):
            self.page.keyboard.press("Tab")
            if element.evaluate("each => each === document.activeElement"):
                break
        else:
            raise AssertionError("Tab does not lead there")
        style = element.evaluate("each => getComputedStyle(each).outlineStyle")
        assert style != "none", "the focus cannot be seen"

    def presses(self, element: Any, key: str = "Enter") -> None:
        """Use a link or a button by the keyboard alone."""
        self.tabs_to(element)
        self.page.keyboard.press(key)

    def types(self, element: Any, text: str) -> None:
        """Enter a text by the keyboard alone."""
        self.tabs_to(element)
        self.page.keyboard.type(text)


#: A subscription of each state: name, expression, target, and how it is doing.
_FAILED = "{}Z: POST of event 5b9e3b02-30b6-46ae-9ae0-1ee5b0d29b4e to {} failed after {}: {}"


def seed(service: Service, user: str) -> None:
    """Give a user subscriptions in each state, some with deliveries of the last day."""
    now = utcnow()
    ago = {hours: now - timedelta(hours=hours) for hours in (2, 24, 48)}
    rows = [
        (
            "Text files of project 1236",
            '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plain")]',
            "https://workflow.example.org/events",
            {},
            (64, 0),
        ),
        (
            "Instrument 54 to the analysis queue",
            '$.data[*][?(@.destinationTable = "Transactions.instrument" and @.value = 54)]',
            "https://analysis.example.org:8443/hooks/pacifica",
            {},
            (210, 9),
        ),
        (
            "NMR results",
            '$.data[*][?(@.destinationTable = "TransactionKeyValue" and @.key = "Method" and '
            '@.value = "NMR")]',
            "https://nmr.example.org/in",
            _disabled(ago[2], "https://nmr.example.org/in", "4 attempts", "status 503: no")
            | {"probes": 3, "held_due": now + timedelta(minutes=13)},
            (12, 0),
        ),
        (
            "DOIs for the library",
            '$[?(@.eventType = "org.pacifica.metadata.doientry")]',
            "https://library.example.org/doi",
            _disabled(ago[48], "https://library.example.org/doi", "1 attempt", "status 404: no"),
            (0, 0),
        ),
        (
            "Everything, while I set up the cluster",
            "data",
            "http://cluster.example.org/all",
            {"disabled": ago[24]},
            (0, 0),
        ),
    ]
    for name, jsonpath, target, columns, deliveries in rows:
        created = service.create(user, name=name, jsonpath=jsonpath, target_url=target)
        _write(service, created["uuid"].replace("-", ""), columns, deliveries, now)


def _disabled(when: datetime, target: str, attempts: str, said: str) -> dict[str, Any]:
    error = _FAILED.format(when.isoformat(timespec="seconds"), target, attempts, said)
    return {"disabled": when, "error": error, "holding": True}


def _write(
    service: Service,
    subscription: str,
    columns: dict[str, Any],
    deliveries: tuple[int, int],
    now: datetime,
) -> None:
    """Change a subscription's row, and add deliveries: so many delivered, and so many failed."""
    database = service.environment["PEEWEE_URL"].partition(":///")[2]
    with sqlite3.connect(database) as connection:
        for name, value in columns.items():
            stored = str(value) if isinstance(value, datetime) else value
            connection.execute(
                f"UPDATE eventmatch SET {name} = ? WHERE uuid = ?",  # noqa: S608 our own names
                (stored, subscription),
            )
        delivered, failed = deliveries
        for number in range(delivered + failed):
            event, moment = uuid4().hex, str(now - timedelta(minutes=7 + number * 971 % 1200))
            about = dict.fromkeys(("event_type", "event_source", "event_id", "event_time"), "")
            _insert(
                connection,
                "eventlog",
                uuid=event,
                jsondata="{}",
                created=moment,
                attempts=0,
                hops=0,
                specversion="0.1",
                **about,
            )
            _insert(
                connection,
                "eventlogmatch",
                uuid=uuid4().hex,
                event_log_id=event,
                event_match_id=subscription,
                policy_status_code="200",
                policy_resp_body="",
                target_status_code="200",
                target_resp_body="",
                created=moment,
                updated=moment,
                state="delivered" if number < delivered else "failed",
                attempts=0,
                tries=1,
                cause="automatic",
            )
    connection.close()


def _insert(connection: sqlite3.Connection, table: str, **columns: Any) -> None:
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({marks})",  # noqa: S608 our own names
        tuple(columns.values()),
    )


def words(text: str) -> str:
    """Return a text with single blanks."""
    return re.sub(r"\s+", " ", text).strip()
