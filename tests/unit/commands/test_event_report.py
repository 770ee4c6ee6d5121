"""How events are printed for people."""

from datetime import datetime
from uuid import UUID

from pacifica.notifications.commands.event_report import event_report
from pacifica.notifications.flow import Deferral
from pacifica.notifications.store.events import LoggedEvent


def test_event_is_printed_unchanged_when_its_record_was_cut_off() -> None:
    event = LoggedEvent(
        UUID(int=1), '{"data": [1, 2', datetime(2020, 1, 2, 3, 4, 5), True, None, None, ()
    )
    assert event_report(event).splitlines() == [
        f"event {UUID(int=1)} received 2020-01-02T03:04:05Z",
        '  {"data": [1, 2',
        "  no matches",
    ]


def test_event_is_printed_with_what_it_is_matched_with_later() -> None:
    deferrals = (
        Deferral("alice", (UUID(int=2), UUID(int=3)), parked=False),
        Deferral("bob", (UUID(int=4),), parked=True),
    )
    event = LoggedEvent(UUID(int=1), "{}", datetime(2020, 1, 2), True, None, None, (), deferrals)
    assert event_report(event).splitlines()[2:] == [
        f"  to be matched soon, for alice: {UUID(int=2)}, {UUID(int=3)}",
        f"  to be matched once corrected and enabled, for bob: {UUID(int=4)}",
    ]
