"""The guide for producers: what it prints is answered, and its programs send what they say."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from pacifica.notifications.events.structured import structured_event
from tests.integration.test_documentation_examples import (
    DOCUMENTED_SERVER,
    Block,
    blocks,
    curl,
    run_examples,
    running_service,
)
from tests.support import databases

__all__ = ["curl"]

PAGE = blocks("producers.rst")
PROGRAMS = [block for block in PAGE if block.language == "python"]
DATA = {
    "send.py": {"sample": 7},
    "sdk.py": {"sample": 7},
    "sdk_binary.py": "AAEC",
    "compressed.py": [{"file": f"{number}.dat"} for number in range(10_000)],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Run a service for the programs of the page; gives its URL and its folder."""
    folder = tmp_path_factory.mktemp("producers")
    with running_service(folder) as url:
        yield url, folder


def test_every_request_of_the_page_is_answered_as_printed(curl: str, tmp_path: Path) -> None:
    with running_service(tmp_path) as url:
        assert run_examples(PAGE, curl, url, tmp_path) == 3


def test_programs_of_the_page_are_all_run() -> None:
    assert [block.caption for block in PROGRAMS] == list(DATA)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda block: block.caption)
def test_program_of_the_page_sends_an_event_that_is_stored(
    service: tuple[str, Path], tmp_path: Path, program: Block
) -> None:
    url, folder = service
    assert program.caption is not None
    script = tmp_path / program.caption
    script.write_text(program.text.replace(DOCUMENTED_SERVER, url), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    event = stored(folder, UUID(done.stdout.strip()))
    assert event["type"] == "org.example.sample.measured"
    assert event.get("data", event.get("data_base64")) == DATA[program.caption]


def stored(folder: Path, uuid: UUID) -> dict[str, object]:
    url = f"sqliteext:///{(folder / 'db.sqlite3').as_posix()}"
    found = databases.execute(url, f"SELECT jsondata FROM eventlog WHERE uuid = '{uuid.hex}'")  # noqa: S608
    return json.loads(found[0][0])


def test_event_of_the_page_is_that_of_the_page_on_subscriptions() -> None:
    (sample,) = (block for block in PAGE if block.caption == "sample.json")
    (other,) = (b for b in blocks("subscriptions.rst") if b.caption == "sample.json")
    assert sample.text == other.text
    assert structured_event(json.loads(sample.text), names_version=True)[1] == "1.0"
