"""Each screen's main task among 10,000 subscriptions and 100,000 deliveries, and odd texts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.webservice import Service
from tests.support import crowd
from tests.support.browsing import DESKTOP, PHONE, ZOOMED, Reader, words
from tests.support.wholepage import OPERATOR, OWNER, WholePage, whole_page

Reads = Callable[..., Reader]
BUSY = f"subscriptions/{crowd.BUSY}"
STRANGE = f"subscriptions/{crowd.STRANGE}"
#: Bytes of a screen with all that it loads, as they are sent, and of the first one once unpacked.
SENT, UNPACKED = 50_000, 100_000
#: Processor time of the web server for a page (seconds).
SERVER_TIME = 0.2
LAST = crowd.FIRST + crowd.DELIVERIES - 1
SIZES = """() => {
    const loaded = ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind));
    return ["encodedBodySize", "decodedBodySize"]
        .map((size) => loaded.reduce((sum, each) => sum + each[size], 0));
}"""


@pytest.fixture(scope="module")
def crowded(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholePage]:
    """Run a service with many rows."""
    assert browser.is_connected()
    with whole_page(tmp_path_factory.mktemp("crowd"), crowd.fill) as page:
        yield page


@pytest.fixture(scope="module")
def service(crowded: WholePage) -> Service:
    return crowded.service


def test_main_task_of_each_screen_is_done_among_many_rows(reader: Reads) -> None:
    someone, operator = reader(OWNER), reader(OPERATOR)
    page = someone.opens()
    rows = page.get_by_role("row")
    assert rows.count() == 31
    assert "Disabled" in rows.nth(1).inner_text()
    assert someone.violations() == []
    page.get_by_role("link", name="Next page").click()
    page.get_by_role("button", name="Enable again").first.click()
    page.get_by_text("The subscription is enabled").wait_for()

    page = someone.opens(f"{BUSY}/deliveries")
    page.get_by_label("State").select_option("Given up")
    page.get_by_label("Answer of the receiver").select_option("5xx: receiver failed")
    page.get_by_role("button", name="Show").click()
    assert rows.count() == 51
    assert someone.violations() == []
    page.get_by_role("link", name="Older").click()
    first = page.locator(".deliveries a.name").first
    assert "Given up" in rows.nth(1).inner_text()
    name = words(first.inner_text())
    first.click()
    assert name in page.locator("#delivery").inner_text()

    page = someone.opens(f"why?event={crowd.FIRST}&subscription={crowd.BUSY}")
    assert "It was delivered" in page.locator("main").inner_text()
    page = someone.opens(f"why?event={LAST}")
    assert page.locator(".ways li").count() <= 201
    assert someone.violations() == []

    page = someone.opens(f"workbench?event={LAST}&jsonpath=data")
    page.get_by_label("In", exact=True).select_option("the last day")
    page.get_by_role("button", name="Count", exact=True).click()
    page.locator("#counts[data-poll]").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.locator("#counts").get_by_text("Cancelled").wait_for()
    assert someone.violations() == []

    page = operator.opens("operators")
    assert operator.violations() == []
    page.get_by_label("All subscriptions of a user").fill(OWNER)
    page.get_by_role("button", name="Find").click()
    page.get_by_role("button", name="Pause The busy one").click()
    page.get_by_text("The subscription is paused").wait_for()
    page.get_by_role("button", name="Enable The busy one").click()
    page.get_by_text("The subscription is enabled").wait_for()
    assert operator.violations() == []


def test_replay_takes_what_the_filters_of_the_list_show(reader: Reads, crowded: WholePage) -> None:
    someone = reader(OWNER)
    page = someone.opens(f"{BUSY}/deliveries?state=failed&status=5xx&from={_days_ago(crowded)}")
    assert "what these filters find" in page.locator("#replay-hint").inner_text()
    page.get_by_role("button", name="Replay these").click()
    page.locator("#progress:not([data-poll])").wait_for()
    said = words(page.locator("#progress").inner_text())
    assert "Only given up, answered 5xx" in said
    assert someone.violations() == []


@pytest.mark.parametrize("path", ["", f"{BUSY}/deliveries", "workbench", "why", "operators"])
def test_first_page_is_small_and_takes_little_time(
    reader: Reads, crowded: WholePage, path: str
) -> None:
    user = OPERATOR if path == "operators" else OWNER
    page = reader(user).opens(path)
    page.wait_for_load_state("load")
    sent, unpacked = page.evaluate(SIZES)
    assert 0 < sent < SENT
    assert sent < unpacked < (UNPACKED if not path else 2 * UNPACKED)
    before = _processor_time(crowded.service)
    for _ in range(5):
        assert crowded.service.call("GET", f"/ui/{path}", user).status_code == 200
    assert (_processor_time(crowded.service) - before) / 5 < SERVER_TIME


@pytest.mark.parametrize("size", [DESKTOP, PHONE, ZOOMED], ids=["desktop", "phone", "zoomed"])
def test_what_others_wrote_is_text_on_every_screen(reader: Reads, size: dict[str, int]) -> None:
    someone, operator = reader(OWNER, viewport=size), reader(OPERATOR, viewport=size)
    event = crowd.STRANGE
    screens = [
        (someone, f"{STRANGE}/deliveries?type=none", 1),
        (someone, f"{STRANGE}/deliveries", 2),
        (someone, f"{STRANGE}/deliveries/{crowd.STRANGE_DELIVERY}", 8),
        (someone, f"{STRANGE}/replay", 1),
        (someone, f"{STRANGE}/edit", 1),
        (someone, f"{STRANGE}/delete", 1),
        (someone, f"why?event={event}&subscription={crowd.STRANGE}", 1),
        (someone, f"workbench?event={event}&jsonpath=data", 3),
        (operator, f"operators/subscriptions?user={OWNER}", 1),
        (operator, f"{STRANGE}/deliveries", 1),
    ]
    for who, path, times in screens:
        page = who.opens(path)
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        found = page.locator("main").evaluate("each => each.textContent + each.innerHTML")
        assert found.count("</bdi><script>alert(1)</script>") >= times, path
        assert page.locator("main script").count() == 0
        assert who.has_no_horizontal_scrolling(), path
        if size is PHONE:
            assert who.violations() == [], path
    page = someone.opens(f"{STRANGE}/test")
    page.get_by_role("button", name="Try the target now").click()
    page.get_by_text("The receiver works").wait_for()
    assert crowd.ODD[:30] in page.locator("main").evaluate("each => each.textContent")
    assert someone.has_no_horizontal_scrolling()


def _days_ago(crowded: WholePage) -> str:
    answer = crowded.service.call(
        "GET", f"/eventmatch/{crowd.BUSY}/deliveries?state=failed&limit=3", OWNER
    ).json()
    return str(answer["items"][-1]["created"])


def _processor_time(service: Service) -> float:
    fields = Path(f"/proc/{service.program.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
