"""The workbench in a real browser: by mouse, by keyboard, and without scripts."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.browsing import PHONE, WAYS, Reader, Way, words
from tests.support.proxies import nginx_in_front, nginx_path
from tests.support.servers import free_port

Reads = Callable[..., Reader]
INGEST = (Path(__file__).parents[1] / "captures" / "ingest.json").read_text()
TEXT_FILES = '$.data[*][?(@.destinationTable = "Files" and @.mimetype = "text/plain")]'


@WAYS
def test_click_on_a_value_leads_to_a_subscription(reader: Reads, way: Way) -> None:
    page = reader(**way).opens("workbench")
    page.get_by_role("button", name="Use an example").click()
    page.get_by_role("button", name="mimetype = text/plain").click()
    page.get_by_text("This event matches").wait_for()
    assert page.get_by_role("textbox", name="Expression").input_value() == TEXT_FILES
    assert (
        page.get_by_role("button", name="mimetype = text/plain").get_attribute("aria-pressed")
        == "true"
    )
    assert page.locator(".record.found").count() == 1
    page.get_by_role("link", name="Tell me when this happens").click()
    page.get_by_label("Address to send to").wait_for()
    assert page.get_by_role("textbox", name="Expression").input_value() == TEXT_FILES


@WAYS
def test_pasted_event_is_tried_with_a_recipe(reader: Reads, way: Way) -> None:
    page = reader(**way).opens("workbench")
    page.get_by_label("Event as JSON").fill(INGEST)
    page.get_by_role("button", name="Use this event").click()
    page.get_by_role("button", name="TransactionKeyValue").first.wait_for()
    page.get_by_role("button", name="My instrument has new data").click()
    page.get_by_label("Instrument number").fill("55")
    page.get_by_role("button", name="Write the expression").click()
    page.get_by_text("This event does not match").wait_for()
    trace = words(page.locator("#trace").inner_text())
    assert '9 records, 1 passed destinationTable = "Transactions.instrument"' in trace
    assert "Hint: the nearest value is the number 54" in trace
    page.get_by_label("Instrument number").fill("54")
    page.get_by_label("Instrument number").press("Enter")
    page.get_by_text("This event matches").wait_for()


def test_trace_follows_while_one_types_by_keyboard_alone(reader: Reads) -> None:
    someone = reader()
    page = someone.opens("workbench")
    someone.presses(page.get_by_role("button", name="Use an example"))
    page.get_by_role("button", name="mimetype = text/plain").wait_for()
    someone.types(
        page.get_by_role("textbox", name="Expression"), TEXT_FILES.replace("plain", "plan")
    )
    page.get_by_text('the nearest value is the text "text/plain"').wait_for()
    assert page.url.endswith("/ui/workbench")
    page.keyboard.press("Control+A")
    page.keyboard.type("$.data[")
    page.get_by_text("a bracket or parenthesis is still open").wait_for()
    page.keyboard.press("Control+A")
    page.keyboard.type(TEXT_FILES)
    page.get_by_text("This event matches").wait_for()
    image = page.get_by_role("button", name="mimetype = image/png")
    someone.presses(image, " ")
    page.get_by_role("textbox", name="Expression").and_(page.locator("#jsonpath")).wait_for()
    page.locator('button[aria-pressed="true"]', has_text="image/png").wait_for()
    assert "image/png" in page.get_by_role("textbox", name="Expression").input_value()
    # Who uses the keyboard goes on from where they were.
    assert "image/png" in page.evaluate("document.activeElement.textContent")


def test_service_that_is_away_is_said_and_what_was_typed_stays(reader: Reads) -> None:
    someone = reader()
    page = someone.opens("workbench?jsonpath=data")
    page.route(re.compile("/workbench"), lambda route: route.abort())
    page.get_by_role("textbox", name="Expression").fill("data[0]")
    page.get_by_text("cannot answer at the moment").wait_for()
    assert page.get_by_role("textbox", name="Expression").input_value() == "data[0]"
    someone.complaints.clear()  # the browser tells of the failed request


def test_event_full_of_markup_and_long_words_fits_a_phone(reader: Reads) -> None:
    someone = reader(viewport=PHONE)
    page = someone.opens("workbench")
    odd = "<img src=x onerror=alert(1)>\u202e" + "W" * 150
    event = {"data": [{"destinationTable": odd, odd: odd, "a": {"b": [1, {"c": odd}]}}]}
    page.get_by_label("Event as JSON").fill(json.dumps(event))
    page.get_by_role("button", name="Use this event").click()
    page.locator(".record").first.wait_for()
    assert page.locator("img").count() == 0
    assert someone.has_no_horizontal_scrolling()


@pytest.mark.server
def test_page_works_below_a_path_of_nginx(reader: Reads, tmp_path: Path) -> None:
    if nginx_path() is None:
        pytest.skip("nginx is not installed")
    someone, port = reader(), free_port()
    location = f"""
        location /notify/ {{
            proxy_pass {someone.service.url}/;
            proxy_set_header Http-Remote-User $http_http_remote_user;
        }}
    """
    page = someone.page
    with nginx_in_front("", tmp_path / "nginx", port, location):
        page.goto(f"http://127.0.0.1:{port}/notify/ui")
        page.get_by_role("link", name="Find out what to ask for").click()
        page.get_by_role("button", name="Use an example").click()
        page.get_by_role("textbox", name="Expression").fill(TEXT_FILES)
        page.get_by_text("This event matches").wait_for()
        page.get_by_role("link", name="Tell me when this happens").click()
        page.get_by_label("Name", exact=True).fill("Mine")
        page.get_by_label("Address to send to").fill("https://workflow.example.org/events")
        page.get_by_role("button", name="Create subscription").click()
        page.get_by_role("link", name="Deliveries of Mine").click()
        page.get_by_role("link", name="Replay", exact=True).click()
        page.get_by_role("button", name="Count first").click()
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("heading", name="Cancelled").wait_for()
        assert page.url.startswith(f"http://127.0.0.1:{port}/notify/ui/subscriptions/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(reader: Reads, scheme: str) -> None:
    someone = reader(color_scheme=scheme, reduced_motion="reduce")
    page = someone.opens("workbench")
    page.get_by_label("Event as JSON").fill("{")
    page.get_by_role("button", name="Use this event").click()
    page.locator("#event-problem").wait_for()
    assert someone.violations() == []
    page.get_by_label("Event as JSON").fill(INGEST)
    page.get_by_role("button", name="Use this event").click()
    page.get_by_role("button", name="mimetype = text/plain").click()
    page.get_by_text("This event matches").wait_for()
    assert someone.violations() == []
    page.get_by_role("textbox", name="Expression").fill(TEXT_FILES.replace("plain", "plan"))
    page.get_by_text("Hint: ").wait_for()
    assert someone.violations() == []
