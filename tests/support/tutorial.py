"""The tutorial of the page, as a reader follows it: docs/tutorial-page.rst has the same steps."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.browsing import PHONE, Reader, words
from tests.support.wholepage import OPERATOR, OWNER, SAID, TRANSACTIONS, WholePage

#: The file of the tutorial, and the folder of its pictures.
PAGE: Final = Path(__file__).parents[2] / "docs" / "tutorial-page.rst"
PICTURES: Final = PAGE.parent / "pictures"
#: The windows of its pictures, and how many colours and bytes a picture has at most.
SMALL: Final = {"width": 1280, "height": 760}
COLOURS: Final = 128
MAX_BYTES: Final = 60_000
#: What pictures show in place of the host and port of a test.
_HOST: Final = "workflow.example.org"
_RENAMES = """host => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode;
        text.data = text.data.replace(/(localhost|127\\.0\\.0\\.1):\\d+/g, host);
    }
    for (const each of document.querySelectorAll("input")) {
        each.value = each.value.replace(/http:\\/\\/127\\.0\\.0\\.1:\\d+/, `https://${host}`);
    }
}"""


@dataclass
class Hands:
    """Does what the tutorial says, and keeps the names that are on what was used, in order."""

    page: Any
    named: list[str] = field(default_factory=list)

    def press(self, name: str, more: str = "") -> None:
        """Press a button or a link; `more` follows its name for those who hear the page."""
        self.named.append(name)
        whole = f"{name} {more}".strip()
        button = self.page.get_by_role("button", name=whole, exact=True)
        button.or_(self.page.get_by_role("link", name=whole, exact=True)).first.click()
        self.page.wait_for_load_state()

    def unfold(self, name: str) -> None:
        """Open what is folded."""
        self.named.append(name)
        self.page.locator("summary", has_text=name).first.click()

    def enter(self, label: str, text: str) -> None:
        """Fill a field."""
        self.named.append(label)
        box = self.page.get_by_role("textbox", name=label, exact=True)
        (box if box.count() else self.page.get_by_label(label, exact=True)).fill(text)

    def choose(self, label: str, option: str) -> None:
        """Choose from a list, or one of several circles."""
        self.named += [label, option]
        field = self.page.get_by_label(label, exact=True)
        if field.count():
            field.select_option(option)
        else:
            self.page.get_by_label(option).check()


@dataclass(frozen=True)
class Step:
    """One section: its title, what is done in it, and its pictures with the part they show.

    A picture shows the window from the element of a selector on; empty: from the top.
    """

    title: str
    do: Callable[[Hands, WholePage], None]
    pictures: tuple[tuple[str, str], ...] = ()
    user: str = OWNER
    on_phone: bool = False


def _ask(hands: Hands, _whole: WholePage) -> None:
    hands.press("Workbench")
    hands.unfold("Take a recent event")
    hands.press("Show events")
    hands.press("Use", f"transaction {TRANSACTIONS[2]}")
    hands.named.append("text/plain")
    hands.page.get_by_role("button", name="mimetype = text/plain").click()
    hands.page.get_by_text("This event matches").wait_for()


def _subscribe(hands: Hands, whole: WholePage) -> None:
    hands.press("Tell me when this happens")
    hands.enter("Name", "My text files")
    hands.enter("Address to send to", f"{whole.target.url}/good")


def _look(hands: Hands, _whole: WholePage) -> None:
    hands.press("Create subscription")
    hands.page.get_by_text("was created").wait_for()
    rows = [words(each) for each in hands.page.locator("tbody tr").all_inner_texts()]
    assert rows[0].startswith("Mass spectrometer")
    assert "Failing since" in rows[0]
    assert any("My text files" in row and "Delivering" in row for row in rows)


def _deliveries(hands: Hands, _whole: WholePage) -> None:
    hands.press("Deliveries", "of Mass spectrometer")
    hands.choose("Answer of the receiver", "5xx: receiver failed")
    hands.press("Show")
    hands.page.locator(".deliveries a.name").last.click()
    hands.page.get_by_text(SAID).first.wait_for()


def _why(hands: Hands, _whole: WholePage) -> None:
    hands.press("Why?")
    hands.enter("Event", str(TRANSACTIONS[0]))
    hands.press("Explain")
    hands.press("Instrument 54 as text")
    hands.page.locator(".way .stop").wait_for()
    assert 'compares it with the text "54"' in hands.page.locator(".steps").inner_text()


def _fix(hands: Hands, _whole: WholePage) -> None:
    hands.press("Try a fix")
    field = hands.page.get_by_role("textbox", name="Expression")
    hands.enter("Expression", field.input_value().replace('"54"', "54"))
    hands.page.get_by_text("This event matches").wait_for()
    hands.choose("Compared with", "Instrument 54 as text")
    hands.press("Count")
    hands.page.locator("#counts:not([data-poll]) svg").first.wait_for()
    assert "3 gained and 0 lost" in words(hands.page.locator("#counts").inner_text())


def _save(hands: Hands, _whole: WholePage) -> None:
    expression = hands.page.get_by_role("textbox", name="Expression").input_value()
    hands.press("Subscriptions")
    hands.press("Edit", "Instrument 54 as text")
    hands.enter("Expression", expression)
    hands.press("Save")
    hands.page.get_by_text("Your changes were saved").wait_for()


def _replay(hands: Hands, whole: WholePage) -> None:
    before = len(whole.target.requests)
    hands.press("Deliveries", "of Instrument 54 as text")
    hands.press("Replay")
    hands.choose("What is sent?", "What is missing")
    hands.choose("By which expression?", "As it is now")
    hands.press("Count first")
    hands.page.locator("#progress:not([data-poll])").wait_for()
    hands.press("Send 3 events again")
    whole.target.wait_for(before + 3, 20)
    hands.page.locator("#progress:not([data-poll])").wait_for()
    assert "3 events sent again" in words(hands.page.locator("#progress").inner_text())


def _phone(hands: Hands, _whole: WholePage) -> None:
    hands.page.get_by_text("Mass spectrometer").first.wait_for()


def _operate(hands: Hands, _whole: WholePage) -> None:
    hands.press("Operators")
    hands.press("Audit log")
    hands.page.get_by_text("subscription created").first.wait_for()
    hands.page.go_back()
    hands.press("Ask Policy now")
    hands.page.get_by_text("Policy answered just now").wait_for()


STEPS: Final = (
    Step("Find out what to ask for", _ask, (("workbench", ".columns"),)),
    Step("Have it sent to you", _subscribe, (("subscription", ""),)),
    Step("See how your subscriptions are", _look, (("subscriptions", ""),)),
    Step("See what the receiver said", _deliveries, (("delivery", "#delivery"),)),
    Step("Ask why an event did not come", _why, (("why", "#answer-title"),)),
    Step("Try a fix on what came", _fix, (("counts", "#calendar"),)),
    Step("Save it", _save),
    Step("Send what was missed", _replay, (("replay", ""),)),
    Step("Look from your phone", _phone, (("phone", ""),), on_phone=True),
    Step("Look after the service", _operate, (("operators", ""),), OPERATOR),
)


def follow(
    whole: WholePage,
    reads: Callable[..., Reader],
    taken: Callable[[str, bytes], None] | None = None,
) -> dict[str, list[str]]:
    """Do all steps, and return what was used in each; `taken` is given each picture as PNG."""
    windows: dict[tuple[str, bool], Reader] = {}
    named = {}
    for step in STEPS:
        key = step.user, step.on_phone
        if key not in windows:
            options: dict[str, Any] = {"viewport": SMALL}
            if step.on_phone:
                options = {"viewport": PHONE, "color_scheme": "dark"}
            windows[key] = reads(step.user, **options)
            windows[key].opens()
        hands = Hands(windows[key].page)
        step.do(hands, whole)
        named[step.title] = hands.named
        if taken is not None:
            for name, selector in step.pictures:
                taken(name, _picture(hands.page, selector))
    return named


def _picture(page: Any, selector: str) -> bytes:
    from PIL import Image  # the tests do not need it

    page.evaluate(_RENAMES, _HOST)
    page.evaluate("each => document.activeElement.blur()")
    if selector:
        page.locator(selector).first.evaluate(
            "each => { each.scrollIntoView(); scrollBy(0, -24); }"
        )
    else:
        page.evaluate("scrollTo(0, 0)")
    picture = Image.open(io.BytesIO(page.screenshot(animations="disabled")))
    kept = io.BytesIO()
    # This method keeps the few coloured places, such as icons.
    method, dither = Image.Quantize.MAXCOVERAGE, Image.Dither.NONE
    small = picture.convert("RGB").quantize(COLOURS, method=method, dither=dither)
    small.save(kept, "PNG", optimize=True)
    return kept.getvalue()


def sections() -> dict[str, str]:
    """Return the steps of the file: their texts by their titles, without their numbers."""
    parts = re.split(r"^\d+\. (.+)\n-+$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
