"""What the page sends to browsers: how much, from where, and what it is."""

import json
import re
from gzip import compress
from hashlib import sha256
from pathlib import Path

import pytest

from pacifica.notifications.ui.assets import Assets

FOLDER = Path(__file__).parents[3] / "pacifica" / "notifications" / "ui"
STATIC = FOLDER / "static"
TEMPLATES = sorted((FOLDER / "templates").iterdir())
#: Lines of JavaScript that are ours.
MAX_LINES = 400
#: Bytes of all files that a page may load, as they are sent (gzip): measured 30,000.
MAX_BYTES = 50_000


def test_htmx_is_the_file_that_is_named_beside_it() -> None:
    about = json.loads((STATIC / "htmx.json").read_text())
    content = (STATIC / "htmx.min.js").read_bytes()
    assert sha256(content).hexdigest() == about["sha256"]
    assert f'version:"{about["version"]}"' in content.decode()
    assert "Zero-Clause BSD" in (STATIC / about["licence_file"]).read_text()


def test_scripts_of_our_own_stay_few() -> None:
    ours = [each for each in STATIC.glob("*.js") if each.name != "htmx.min.js"]
    assert 0 < sum(len(each.read_text().splitlines()) for each in ours) <= MAX_LINES


def test_files_that_a_page_loads_are_small() -> None:
    sent = [each for each in STATIC.iterdir() if each.suffix in (".js", ".css", ".svg")]
    assert sum(len(compress(each.read_bytes())) for each in sent) < MAX_BYTES


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_template_has_no_inline_script_or_style_and_loads_nothing_from_elsewhere(
    template: Path,
) -> None:
    text = template.read_text()
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son[a-z]+=|javascript:", text)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text)
    # Absolute paths would be wrong behind a proxy that serves the page below a path.
    assert not re.search(r'(?:src|href|action|hx-post|hx-get)="/', text)
    assert "|safe" not in text
    assert "autoescape" not in text


def test_path_of_a_file_changes_with_its_content() -> None:
    assets = Assets()
    assert assets.path("page.css").startswith("static/")
    digest = sha256((STATIC / "page.css").read_bytes()).hexdigest()
    assert assets.path("page.css").split("/")[1] == digest[:16]
    assert assets.find("htmx.json") is None
