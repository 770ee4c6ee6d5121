"""What the page reads again by itself: only while it is seen, and only what has changed."""

from collections.abc import Callable
from typing import Any

from tests.integration.webservice import Service
from tests.support.browsing import Reader
from tests.support.pages import send

Reads = Callable[..., Reader]
REPLAY = {"from": "2026-01-31T10:00", "mode": "all", "match": "now", "dry_run": "yes"}
#: Has the page believe that it is hidden or seen.
HIDE = """hidden => {
    Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
#: Milliseconds: longer than the page waits between two requests.
WAIT = 1500


def test_progress_is_read_again_only_while_it_is_seen_and_only_if_it_changed(
    reader: Reads, service: Service
) -> None:
    someone = reader()
    uuid = service.create(someone.user)["uuid"]
    begun = send(service, someone.user, f"subscriptions/{uuid}/replay", REPLAY)
    path = begun.headers["Location"].removeprefix("../../")
    page = someone.page
    page.clock.install()
    someone.opens(path)
    asked: list[Any] = []
    page.on("request", lambda request: asked.append(request))

    def reads_again() -> int:
        with page.expect_response(lambda each: path in each.url) as response:
            page.clock.run_for(WAIT)
        return int(response.value.status)

    assert reads_again() == 200  # which gives the tag
    assert reads_again() == 304
    page.evaluate(HIDE, True)
    before = len(asked)
    page.clock.run_for(10 * WAIT)
    assert len(asked) <= before + 1  # that one was under way
    before = len(asked)
    page.clock.run_for(10 * WAIT)
    assert len(asked) == before
    page.evaluate(HIDE, False)
    assert reads_again() == 304
    send(service, someone.user, f"{path}/cancel")
    assert reads_again() == 200
    page.get_by_text("Cancelled").first.wait_for()
    assert page.get_by_role("status").inner_text() == "Cancelled: 0 events"
    before = len(asked)
    page.clock.run_for(10 * WAIT)
    assert len(asked) == before  # nothing more changes
