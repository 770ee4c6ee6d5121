"""Deliveries, why, replays and counts in a real browser: by mouse, keyboard, without scripts."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.webservice import Service, some_user
from tests.support.browsing import DESKTOP, PHONE, WAYS, ZOOMED, Reader, Way, has_scripts, words
from tests.support.wholepage import (
    DENIED,
    NUMBER,
    OPERATOR,
    OWNER,
    SAID,
    TRANSACTIONS,
    VISIBLE,
    WholePage,
)

Reads = Callable[..., Reader]


@pytest.fixture(scope="module")
def service(whole: WholePage) -> Service:
    return whole.service


@WAYS
def test_delivery_is_found_by_filters_and_sent_again(
    reader: Reads, whole: WholePage, way: Way
) -> None:
    page = reader(OWNER, **way).opens()
    page.get_by_role("link", name="Deliveries of Text files").click()
    page.get_by_label("State").select_option("Delivered")
    page.get_by_role("button", name="Show").click()
    assert "state=delivered" in page.url
    assert page.get_by_role("row").count() == VISIBLE + 1  # with the head
    assert f"Transaction {DENIED}" not in page.locator("main").inner_text()
    before = len(whole.target.requests)
    page.get_by_role("button", name=f"Send again Transaction {TRANSACTIONS[0]}").click()
    page.get_by_text("It is being sent again").wait_for()
    whole.target.wait_for(before + 1, 20)
    whole.settle()
    if not has_scripts(way):
        page.reload()
    page.get_by_text("because you sent it again").first.wait_for()
    page.get_by_text("Copy as curl").first.click()
    command = page.locator("pre[id^=curl]").first.inner_text()
    assert command.startswith(f"curl -X POST {whole.target.url}/good")
    assert f'"value": {TRANSACTIONS[0]}' in command
    assert page.get_by_role("button", name="Copy", exact=True).count() == has_scripts(way)


def test_failed_attempts_are_a_timeline_with_what_was_said(reader: Reads, whole: WholePage) -> None:
    page = reader(OWNER).opens(f"subscriptions/{whole.failing}/deliveries?status=5xx")
    page.locator(".deliveries a.name").last.click()
    page.get_by_text(SAID).first.wait_for()
    assert "503 Service Unavailable" in page.locator(".timeline").inner_text()
    assert "disabled" in page.locator(".notice").first.inner_text()


def test_delivery_is_found_and_sent_again_by_keyboard_alone(
    reader: Reads, whole: WholePage
) -> None:
    someone = reader(OWNER)
    page = someone.opens()
    someone.presses(page.get_by_role("link", name="Deliveries of Text files"))
    someone.tabs_to(page.get_by_label("State"))
    page.keyboard.type("Delivered")
    someone.presses(page.get_by_role("button", name="Show"))
    page.wait_for_url("**/deliveries?state=delivered")
    before = len(whole.target.requests)
    name = f"Send again Transaction {TRANSACTIONS[1]}"
    someone.presses(page.get_by_role("button", name=name))
    page.get_by_text("It is being sent again").wait_for()
    whole.target.wait_for(before + 1, 20)
    whole.settle()


@WAYS
def test_target_is_tried_and_its_answer_shown(reader: Reads, whole: WholePage, way: Way) -> None:
    page = reader(OWNER, **way).opens(f"subscriptions/{whole.good}/deliveries")
    page.get_by_role("link", name="Try the target").click()
    page.get_by_role("button", name="Try the target now").click()
    page.get_by_text("The receiver works").wait_for()
    assert "the newest event that matched" in page.locator("main").inner_text()
    page.goto(f"{whole.service.url}/ui/subscriptions/{whole.failing}/test")
    page.get_by_role("button", name="Try the target now").click()
    page.get_by_text("The receiver did not take it").wait_for()
    assert SAID in page.locator("main").inner_text()


@WAYS
def test_replay_counts_first_and_then_sends(reader: Reads, whole: WholePage, way: Way) -> None:
    page = reader(OWNER, **way).opens(f"subscriptions/{whole.good}/deliveries")
    page.get_by_role("button", name="Replay these").click()
    ends(page, has_scripts(way))
    before = len(whole.target.requests)
    page.get_by_role("button", name=f"Send {VISIBLE} events again").click()
    ends(page, has_scripts(way))
    whole.target.wait_for(before + VISIBLE, 20)
    assert f"{VISIBLE} events sent again" in words(page.locator("#progress").inner_text())
    page.go_back()
    page.get_by_role("button", name=f"Send {VISIBLE} events again").click()  # once more
    assert "Finished" in page.locator("#progress").inner_text()
    assert len(whole.target.requests) == before + VISIBLE


def ends(page: Any, scripts: bool) -> None:
    """Wait until a replay has ended, by what the page offers."""

    page.locator("#progress").wait_for()
    if not scripts:
        while page.get_by_role("link", name="Look again").count():
            page.get_by_role("link", name="Look again").click()
    page.locator("#progress:not([data-poll])").wait_for()


def test_replay_is_counted_by_keyboard_alone(reader: Reads, whole: WholePage) -> None:
    someone = reader(OWNER)
    page = someone.opens(f"subscriptions/{whole.good}/replay")
    someone.tabs_to(page.get_by_label("What was given up"))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    someone.presses(page.get_by_role("button", name="Count first"))
    page.locator("#progress:not([data-poll])").wait_for()
    assert f"{VISIBLE} events would be sent" in words(page.locator("#progress").inner_text())
    someone.tabs_to(page.get_by_role("button", name=f"Send {VISIBLE} events again"))


@WAYS
def test_why_shows_what_stopped_an_event_and_leads_to_a_fix(reader: Reads, way: Way) -> None:
    page = reader(OWNER, **way).opens("why")
    page.get_by_label("Event").fill(str(TRANSACTIONS[0]))
    page.get_by_role("button", name="Explain").click()
    ways = [words(each) for each in page.locator(".ways li").all_inner_texts()]
    assert [each for each in ways if each.startswith("Text files Delivered")]
    page.get_by_role("link", name="Instrument 54 as text").click()
    page.locator(".way .stop").wait_for()
    assert "Matched by the expression ended here" in words(page.locator(".stop").first.inner_text())
    assert "1 record, 0 passed" in words(page.locator(".steps").inner_text())
    assert 'compares it with the text "54"' in page.locator(".steps").inner_text()
    page.get_by_role("link", name="Try a fix").click()
    page.get_by_role("textbox", name="Expression").fill(NUMBER)
    page.get_by_role("button", name="Try it").click()
    page.get_by_text("This event matches").wait_for()
    button = page.get_by_role("button", name=f"value = {TRANSACTIONS[0]}", exact=True)
    assert button.count() == 1


def test_why_is_asked_by_keyboard_alone_and_says_nothing_of_what_is_denied(
    reader: Reads, whole: WholePage
) -> None:
    someone = reader(OWNER)
    page = someone.opens("why")
    answers = []
    for name in (str(DENIED), "999999"):
        page.goto(f"{whole.service.url}/ui/why")
        someone.types(page.get_by_label("Event"), name)
        page.keyboard.press("Enter")
        page.locator("#event-problem").wait_for()
        answers.append(words(page.locator("main").inner_text()))
    assert answers[0] == answers[1]
    assert "no such event that you may see" in answers[0]


@WAYS
def test_workbench_counts_what_would_have_matched(reader: Reads, way: Way) -> None:
    page = reader(OWNER, **way).opens("workbench")
    page.get_by_text("Take a recent event").click()
    page.get_by_role("button", name="Show events").click()
    page.get_by_role("button", name=f"Use transaction {TRANSACTIONS[1]}").click()
    page.get_by_role("button", name=f"value = {TRANSACTIONS[1]}", exact=True).wait_for()
    assert not page.get_by_role("button", name=f"Use transaction {DENIED}").count()
    page.get_by_role("textbox", name="Expression").fill(NUMBER)
    page.get_by_label("Compared with").select_option("Instrument 54 as text")
    page.get_by_role("button", name="Count", exact=True).click()
    page.locator("#counts svg").first.wait_for()
    while not has_scripts(way) and page.get_by_role("button", name="Look again").count():
        page.get_by_role("button", name="Look again").click()
    page.locator("#counts:not([data-poll])").wait_for()
    said = words(page.locator("#counts").inner_text())
    assert f"{VISIBLE} events would have matched, {VISIBLE} gained and 0 lost" in said
    rows = page.locator("#counts tbody tr td:first-of-type").all_inner_texts()
    assert sum(map(int, rows)) == VISIBLE
    assert page.locator("#counts rect.bar").count() == 1
    page.get_by_role("button", name=f"See transaction {TRANSACTIONS[0]}").click()
    page.get_by_role("button", name=f"value = {TRANSACTIONS[0]}", exact=True).wait_for()


@WAYS
def test_operator_pauses_a_subscription_whose_owner_sees_who_did_it(
    reader: Reads, whole: WholePage, way: Way
) -> None:
    someone = some_user()
    whole.subscribed("good", "A busy one", "$.none", someone)
    page = reader(OPERATOR, **way).opens()
    page.get_by_role("link", name="Operators").click()
    assert "503" in page.locator("section", has_text="Worst targets").inner_text()
    page.get_by_label("All subscriptions of a user").fill(someone)
    page.get_by_role("button", name="Find").click()
    page.get_by_role("button", name="Pause A busy one").click()
    page.get_by_text("The subscription is paused").wait_for()
    shown = reader(someone).opens().get_by_role("row").nth(1)
    assert "Paused by an operator" in shown.inner_text()
    page.get_by_role("link", name="Operators").first.click()
    page.get_by_role("button", name=f"Enable A busy one of {someone}").click()
    page.get_by_text("The subscription is enabled").wait_for()
    page.get_by_role("link", name="Audit log").click()
    log = words(page.locator("tbody").inner_text())
    for part in ("subscription disabled", "subscription enabled", f"{OPERATOR}", someone):
        assert part in log


def test_operator_pauses_and_asks_policy_by_keyboard_alone(reader: Reads, whole: WholePage) -> None:
    whole.subscribed("good", "A quiet one", "$.none", "bob")
    someone = reader(OPERATOR)
    page = someone.opens("operators")
    someone.types(page.get_by_label("All subscriptions of a user"), "bob")
    page.keyboard.press("Enter")
    someone.presses(page.get_by_role("button", name="Pause A quiet one"))
    page.get_by_text("The subscription is paused").wait_for()
    page.goto(f"{whole.service.url}/ui/operators")
    someone.presses(page.get_by_role("button", name="Ask Policy now"))
    page.get_by_text("Policy answered just now").wait_for()


def test_filters_stay_with_back_reload_and_links_that_are_passed_on(
    reader: Reads, whole: WholePage
) -> None:
    page = reader(OWNER).opens(f"subscriptions/{whole.good}/deliveries")
    page.get_by_label("State").select_option("Delivered")
    page.get_by_label("From").fill("2026-01-31T04:00")  # in Los Angeles
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**/deliveries?state=delivered&from=2026-01-31T12%3A00Z")

    def shown(page: Any) -> tuple[str, str, int]:
        page.locator(".deliveries").wait_for()
        fields = (page.get_by_label(name).input_value() for name in ("State", "From"))
        return *fields, page.locator(".deliveries tbody tr").count()

    expected = ("delivered", "2026-01-31T04:00", VISIBLE)
    assert shown(page) == expected
    page.locator(".deliveries a.name").first.click()
    page.locator("#delivery").wait_for()
    page.go_back()
    assert shown(page) == expected
    page.reload()
    assert shown(page) == expected
    link = page.url.partition("/ui/")[2]
    assert shown(reader(OWNER).opens(link)) == expected
    tokyo = reader(OWNER, timezone_id="Asia/Tokyo").opens(link)
    assert shown(tokyo) == ("delivered", "2026-01-31T21:00", VISIBLE)
    assert tokyo.get_by_text("From (your time)").is_visible()
    plain = reader(OWNER, java_script_enabled=False).opens(link)
    assert shown(plain) == ("delivered", "2026-01-31T12:00", VISIBLE)
    assert plain.get_by_text("From (UTC)").is_visible()
    plain.get_by_role("button", name="Show").click()
    assert "from=2026-01-31T12%3A00&" in plain.url
    assert shown(plain)[1] == "2026-01-31T12:00"


def test_times_of_a_replay_are_those_that_its_reader_entered(
    reader: Reads, whole: WholePage
) -> None:
    page = reader(OWNER, timezone_id="Asia/Tokyo").opens(f"subscriptions/{whole.good}/replay")
    page.locator("#from").fill("2026-01-31T21:00")
    page.get_by_role("button", name="Count first").click()
    page.locator("#progress:not([data-poll])").wait_for()
    listed = whole.service.call("GET", f"/eventmatch/{whole.good}/replays", OWNER).json()["items"]
    assert listed[0]["from"] == "2026-01-31T12:00:00.000Z"
    page.get_by_role("link", name="Change it").click()
    assert page.locator("#from").input_value() == "2026-01-31T21:00"


@pytest.mark.parametrize("size", [PHONE, ZOOMED], ids=["phone", "zoomed"])
def test_no_screen_scrolls_sideways(reader: Reads, whole: WholePage, size: dict[str, int]) -> None:
    for path, user in whole.screens().values():
        someone = reader(user, viewport=size)
        someone.opens(path)
        assert someone.has_no_horizontal_scrolling(), path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(
    reader: Reads, whole: WholePage, scheme: str, size: dict[str, int]
) -> None:
    options = {"color_scheme": scheme, "viewport": size, "reduced_motion": "reduce"}
    readers = {user: reader(user, **options) for user in (OWNER, OPERATOR)}
    for path, user in whole.screens().values():
        page = readers[user].opens(path)
        for each in page.locator("details > summary").all():
            each.click()
        assert readers[user].violations() == [], path
    page = readers[OWNER].opens(f"subscriptions/{whole.good}/replay")
    page.get_by_role("button", name="Count first").click()
    page.locator("#progress:not([data-poll])").wait_for()
    assert readers[OWNER].violations() == []
