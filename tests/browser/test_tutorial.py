"""The tutorial of the page can be followed as it is written, and its pictures are there."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.webservice import Service
from tests.support.browsing import Reader
from tests.support.tutorial import MAX_BYTES, PICTURES, STEPS, follow, sections
from tests.support.wholepage import WholePage, whole_page

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def followed(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run a service of its own, since the tutorial changes what is in it."""
    assert browser.is_connected()
    with whole_page(tmp_path_factory.mktemp("tutorial")) as page:
        yield page


@pytest.fixture(scope="module")
def service(followed: WholePage) -> Service:
    return followed.service


def test_tutorial_is_followed_step_by_step(
    reader: Callable[..., Reader], followed: WholePage
) -> None:
    used = follow(followed, reader)
    written = {
        title: re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", text) for title, text in sections().items()
    }
    assert written == used


def test_pictures_of_the_tutorial_are_there_and_small() -> None:
    shown = {
        title: re.findall(r"^\.\. image:: pictures/(.+)\.png$", text, re.MULTILINE)
        for title, text in sections().items()
    }
    assert shown == {step.title: [name for name, _ in step.pictures] for step in STEPS}
    named = sorted(f"{name}.png" for names in shown.values() for name in names)
    assert sorted(each.name for each in PICTURES.iterdir()) == named
    for each in PICTURES.iterdir():
        assert each.read_bytes().startswith(_SIGNATURE)
        assert each.stat().st_size < MAX_BYTES


def test_pictures_say_what_they_show() -> None:
    for text in sections().values():
        for picture in re.findall(r"^\.\. image:: (?:.+\n)(?:   .+\n)*", text, re.MULTILINE):
            assert re.search(r"^   :alt: \S", picture, re.MULTILINE), picture
    assert Path(PICTURES).is_dir()
