"""How events are printed for people."""

from datetime import datetime
from uuid import UUID

from pacifica.notifications.commands.event_report import event_report
from pacifica.notifications.store.events import LoggedEvent


def test_event_is_printed_unchanged_when_its_record_was_cut_off() -> None:
    event = LoggedEvent(UUID(int=1), '{"data": [1, 2', datetime(2020, 1, 2, 3, 4, 5), True, ())
    assert event_report(event).splitlines() == [
        f"event {UUID(int=1)} received 2020-01-02T03:04:05Z",
        '  {"data": [1, 2',
        "  no matches",
    ]
