"""The screens of subscriptions in a real browser: by mouse, by keyboard, and without scripts."""

import re
from collections.abc import Callable

import pytest

from tests.integration.webservice import some_user
from tests.support.browsing import DESKTOP, PHONE, WAYS, ZOOMED, Reader, Way, words

Reads = Callable[..., Reader]
EXPRESSION = '$.data[*][?(@.destinationTable = "Files")]'
TARGET = "https://workflow.example.org/events"
SCREENS = ("", "subscriptions/new", "workbench?recipe=files", "nothing")


@WAYS
def test_subscription_is_made_changed_paused_and_deleted_by_mouse(reader: Reads, way: Way) -> None:
    page = reader(**way).opens()
    page.get_by_role("link", name="I have an expression already").click()
    page.get_by_label("Name", exact=True).fill("My files")
    page.get_by_role("textbox", name="Expression").fill(EXPRESSION)
    page.get_by_label("Address to send to").fill("workflow.example.org")
    page.get_by_role("button", name="Create subscription").click()
    assert "must be an http or https URL" in page.locator(
        "#target_url-problem"
    ).inner_text().lower().replace("url", "URL")
    page.get_by_label("Address to send to").fill(TARGET)
    page.get_by_role("button", name="Create subscription").click()
    assert "was created" in page.get_by_role("status").inner_text()
    row = page.get_by_role("row").nth(1)
    assert "Delivering" in row.inner_text()
    page.get_by_role("link", name="Edit My files").click()
    page.get_by_label("Name", exact=True).fill("All files")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Pause All files").click()
    assert "Paused by you" in row.inner_text()
    page.get_by_role("button", name="Resume All files").click()
    assert "Delivering" in row.inner_text()
    page.get_by_role("link", name="Delete All files").click()
    page.get_by_role("button", name="Delete this subscription").click()
    assert "was deleted" in page.get_by_role("status").inner_text()
    assert page.get_by_role("row").count() == 0


def test_subscription_is_made_and_deleted_by_keyboard_alone(reader: Reads) -> None:
    someone = reader()
    page = someone.opens()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skips to the content
    assert page.evaluate("document.activeElement.id") == "main"
    someone.presses(page.get_by_role("link", name="I have an expression already"))
    someone.types(page.get_by_label("Name", exact=True), "My files")
    someone.presses(page.get_by_role("button", name="Create subscription"))
    page.locator("#summary").wait_for()
    assert page.evaluate("document.activeElement.id") == "summary"  # told at once
    someone.types(page.get_by_role("textbox", name="Expression"), EXPRESSION)
    someone.types(page.get_by_label("Address to send to"), TARGET)
    page.keyboard.press("Enter")
    page.get_by_role("row").nth(1).wait_for()
    someone.presses(page.get_by_role("link", name="Delete My files"))
    someone.presses(page.get_by_role("button", name="Delete this subscription"), " ")
    page.get_by_text("was deleted").wait_for()


def test_states_are_said_in_words_and_those_who_need_their_owner_stand_first(
    reader: Reads, seeded: str
) -> None:
    page = reader(seeded).opens()
    rows = [words(each.inner_text()) for each in page.locator("tbody tr").all()]
    assert [row.split(" $")[0] for row in rows[:2]] == ["DOIs for the library", "NMR results"]
    assert re.search(r"Disabled on .*404 from library\.example\.org.*correct the address", rows[0])
    assert re.search(r"Failing since .*: 503 from nmr\.example\.org, next try \d\d:\d\d", rows[1])
    assert any("Paused by you" in row for row in rows[2:])
    assert any("210 delivered, 9 not" in row for row in rows[2:])
    for row in page.locator("tbody tr").all():
        assert row.locator("svg.icon").count()  # a shape, beside the word


def test_times_are_in_the_zone_of_the_reader_or_in_utc_without_scripts(
    reader: Reads, seeded: str
) -> None:
    time = reader(seeded).opens().locator("time").first
    assert "UTC" not in time.inner_text()
    assert time.get_attribute("title").endswith("UTC")
    plain = reader(seeded, java_script_enabled=False).opens().locator("time").first
    assert plain.inner_text().endswith("UTC")


@pytest.mark.parametrize("size", [PHONE, ZOOMED], ids=["phone", "zoomed"])
def test_no_screen_scrolls_sideways(reader: Reads, seeded: str, size: dict[str, int]) -> None:
    someone = reader(seeded, viewport=size)
    for screen in SCREENS:
        someone.opens(screen)
        assert someone.has_no_horizontal_scrolling(), screen
    page = someone.opens()
    page.get_by_role("link", name="Edit NMR results").click()
    assert someone.has_no_horizontal_scrolling()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(reader: Reads, seeded: str, scheme: str, size: dict[str, int]) -> None:
    someone = reader(seeded, color_scheme=scheme, viewport=size, reduced_motion="reduce")
    for screen in SCREENS:
        someone.opens(screen)
        assert someone.violations() == [], screen
    page = someone.opens()
    page.get_by_role("link", name="Delete NMR results").click()
    assert someone.violations() == []
    page.goto(f"{someone.service.url}/ui/subscriptions/new")
    page.get_by_label("User name and password").check()
    page.get_by_role("button", name="Create subscription").click()
    page.locator("#summary").wait_for()
    assert someone.violations() == []


def test_names_full_of_markup_and_long_words_do_no_harm(reader: Reads) -> None:
    someone = reader(viewport=PHONE)
    odd = "<b>\u202egnp.exe</bdi><script>alert(1)</script>" + "W" * 200
    someone.service.create(someone.user, name=odd, jsonpath=f'$["{"x" * 300}"]')
    page = someone.opens()
    assert page.get_by_role("row").nth(1).locator("bdi").first.inner_text() == odd
    assert someone.has_no_horizontal_scrolling()
    assert page.get_by_text("sends to target.example").is_visible()


def test_nothing_moves_for_who_does_not_want_it(reader: Reads) -> None:
    page = reader(reduced_motion="reduce").opens("subscriptions/new")
    duration = "getComputedStyle(document.querySelector('.button')).transitionDuration"
    assert page.evaluate(duration) == "0s"


def test_form_is_refused_after_somebody_else_signed_in(reader: Reads) -> None:
    someone = reader()
    someone.service.create(someone.user, name="Mine")
    page = someone.opens()
    other = some_user()
    someone.window.set_extra_http_headers({"Http-Remote-User": other})
    page.get_by_role("button", name="Pause Mine").click()
    page.get_by_role("heading", name="Somebody else is signed in now").wait_for()
    assert page.locator(".user").inner_text().endswith(other)
    assert someone.violations() == []
    (mine,) = someone.service.call("GET", "/eventmatch", someone.user).json()
    assert mine["disabled"] is None
    someone.window.set_extra_http_headers({"Http-Remote-User": someone.user})
    someone.opens("workbench")
    someone.window.set_extra_http_headers({"Http-Remote-User": other})
    page.get_by_role("textbox", name="Expression").fill("data")
    page.get_by_text("Somebody else is signed in now. Open this page again.").wait_for()
    assert page.get_by_role("textbox", name="Expression").input_value() == "data"
    someone.complaints.clear()  # htmx tells of the status


def test_one_of_two_tabs_does_not_undo_what_the_other_did(reader: Reads) -> None:
    someone = reader()
    uuid = someone.service.create(someone.user, name="Mine")["uuid"]
    first, second = someone.page, someone.window.new_page()
    for page in (first, second):
        page.goto(f"{someone.service.url}/ui/subscriptions/{uuid}/edit")
    second.get_by_label("Name", exact=True).fill("Ours")
    second.get_by_role("button", name="Save").click()
    first.get_by_label("Name", exact=True).fill("Theirs")
    first.get_by_role("button", name="Save").click()
    first.get_by_text("changed after you opened this form").wait_for()
    assert someone.violations() == []
    assert first.get_by_label("Name", exact=True).input_value() == "Theirs"
    second.get_by_role("link", name="Delete Ours").click()
    second.get_by_role("button", name="Delete this subscription").click()
    first.get_by_role("button", name="Save").click()
    first.get_by_role("heading", name="This is not available to you").wait_for()
    first.get_by_role("link", name="To your subscriptions").click()
    first.get_by_text("Be told when your data arrive").wait_for()


def test_states_stay_visible_while_policy_is_away_and_content_does_not(
    reader: Reads, seeded: str
) -> None:
    someone = reader(seeded)
    page = someone.opens()
    page.get_by_role("link", name="Deliveries of NMR results").click()
    rows = page.locator(".deliveries tbody tr")
    assert rows.count() == 12
    assert "Event (not shown)" in rows.first.inner_text()
    assert "Delivered" in rows.first.inner_text()
    assert someone.violations() == []
    page.locator(".deliveries a.name").first.click()
    page.get_by_text("Policy cannot say now whether you may see it").wait_for()
    page.goto(f"{someone.service.url}/ui/why?event=1234")
    page.get_by_role("heading", name="The service is busy").wait_for()
    assert someone.violations() == []
    someone.complaints.clear()  # the browser tells of the status
