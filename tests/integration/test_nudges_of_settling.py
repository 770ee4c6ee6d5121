"""Messages about events that wait for Metadata: few of them, and at their time."""

import json
from pathlib import Path

import pytest

from pacifica.notifications.broker.publisher import Publisher
from pacifica.notifications.settings import CelerySettings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "queue"


@pytest.fixture
def publisher(folder: Path) -> Publisher:
    return Publisher(CelerySettings(broker_url=f"filesystem://localhost{folder}"), 50, lambda: None)


def messages(folder: Path) -> list[dict[str, object]]:
    """Return the headers of the messages that wait in an embedded broker."""
    found = sorted((folder / "messages").glob("*.msg"))
    return [json.loads(each.read_text())["headers"] for each in found]


def test_message_is_for_later_and_void_after_a_while(publisher: Publisher, folder: Path) -> None:
    publisher.nudge_settling(0.05)
    (message,) = messages(folder)
    assert str(message["task"]).endswith("tasks.settle_events")
    assert message["eta"] is not None
    assert message["expires"] is not None


def test_no_message_is_sent_while_one_comes_that_is_not_later(
    publisher: Publisher, folder: Path
) -> None:
    publisher.nudge_settling(30.0)
    publisher.nudge_settling(30.0)
    publisher.nudge_settling(60.0)
    assert len(messages(folder)) == 1
    publisher.nudge_settling(0.0)
    publisher.nudge_settling(0.0)
    assert len(messages(folder)) == 3
