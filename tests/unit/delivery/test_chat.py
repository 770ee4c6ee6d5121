"""What is posted to chats, held against the formats that their providers document."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.clock import utcnow
from pacifica.notifications.delivery import Links, delivery_request
from pacifica.notifications.delivery.chat import MAX_TEXT
from pacifica.notifications.events import Event
from pacifica.notifications.flow import Delivery
from pacifica.notifications.settings import DeliverySettings
from pacifica.notifications.subscriptions import Format, Subscription

CAPTURES = Path(__file__).parents[2] / "captures"
EVENT = UUID(int=2)
HEBREW = "\u05e4\u05e8\u05d5"
PORTAL = "https://data.example/transactions/{transaction}"
LINKS = Links(PORTAL, "https://notify.example")
HOSTILE = "<!channel> <@U1|x> @all *b* _i_ ~s~ `c` [l](http://evil.example) ||s|| #general $x$ & \\"


def posted(
    document: Any, form: Format = Format.TEXT, links: Links = LINKS
) -> tuple[dict[str, str], Any]:
    """Return the headers and the body of the request that tells a chat of an event."""
    subscription = Subscription(
        UUID(int=3), "alice", "https://chat.example/hook", {"ignored": 1}, {}, 1, format=form
    )
    event = Event(EVENT, json.dumps(document))
    delivery = Delivery(UUID(int=1), EVENT, 1, subscription)
    request = delivery_request(delivery, event, utcnow(), DeliverySettings(), links)
    return dict(request.headers), json.loads(request.body)


def captured(name: str) -> Any:
    """Return an event as Pacifica Metadata sent it."""
    return json.loads((CAPTURES / f"{name}.json").read_text())


def ingest(**values: Any) -> dict[str, Any]:
    said = {"_id": 67, "project": "1234a", "instrument": 54, **values}
    records: list[Any] = [
        {"destinationTable": f"Transactions.{name}", "value": value} for name, value in said.items()
    ]
    records += [{"destinationTable": "Files", "size": size} for size in (1000, "2500000")]
    return {"eventType": "org.pacifica.metadata.ingest", "data": records}


def test_text_is_one_line_that_says_what_arrived_and_where_it_is() -> None:
    headers, body = posted(ingest())
    line = "Transaction 67 of project 1234a on instrument 54: 2 files, 2.5 MB"
    assert body == {"text": f"{line} https://data.example/transactions/67"}
    assert headers["Content-Type"] == "application/json; charset=UTF-8"
    assert headers["Pacifica-Notifications-Delivery"] == str(UUID(int=1))


def test_text_of_what_metadata_sends_says_what_arrived() -> None:
    _headers, body = posted(captured("ingest"))
    assert re.fullmatch(
        r"Transaction \d+ of project \S+ on instrument \d+: \d+ files?, \S+ \S+ https://\S+/\d+",
        body["text"],
    )


@pytest.mark.parametrize("name", ["doientry", "orm-files", "orm-composite-key", "orm-users"])
def test_text_of_other_events_names_them_and_links_to_why(name: str) -> None:
    _headers, body = posted(captured(name))
    assert body["text"].startswith("org.pacifica.metadata.")
    assert body["text"].endswith(f" https://notify.example/ui/why?event={EVENT}")


def test_text_has_no_link_when_none_is_configured() -> None:
    assert "http" not in posted(ingest(), links=Links())[1]["text"]


def test_discord_gets_content_that_mentions_nobody() -> None:
    text = posted(ingest())[1]["text"]
    assert posted(ingest(), Format.DISCORD)[1] == {
        "content": text,
        "allowed_mentions": {"parse": []},
        "flags": 4,
    }


def test_teams_get_an_adaptive_card_that_opens_the_link() -> None:
    _headers, body = posted(ingest(), Format.TEAMS)
    (attachment,) = body["attachments"]
    card = attachment["content"]
    assert body["type"] == "message"
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert card["body"][0]["text"].startswith("Transaction 67 ")
    assert card["actions"] == [
        {"type": "Action.OpenUrl", "title": "Open", "url": "https://data.example/transactions/67"}
    ]


@pytest.mark.parametrize("form", [Format.TEXT, Format.DISCORD, Format.TEAMS])
@given(name=st.text() | st.just(HOSTILE) | st.text(alphabet=HOSTILE))
def test_nothing_in_an_event_is_markup_or_breaks_the_line(form: Format, name: str) -> None:
    _headers, body = posted(ingest(project=name, instrument=name), form, Links())
    text = {
        Format.TEXT: lambda: body["text"],
        Format.DISCORD: lambda: body["content"],
        Format.TEAMS: lambda: body["attachments"][0]["content"]["body"][0]["text"],
    }[form]()
    assert not set(text) & set("<>&@#*_~`[]|\\$")
    assert "://" not in text
    # Isolates are what the service adds, in pairs.
    assert text.count("\u2068") == text.count("\u2069") or len(text) == 300
    assert all(each.isprintable() or each in "\u2068\u2069" for each in text)
    assert len(text) <= MAX_TEXT


@pytest.mark.parametrize("document", [{}, {"data": [1, None]}, {"type": ["x"]}, {"id": 10**400}])
def test_any_object_has_a_text(document: Any) -> None:
    assert posted(document)[1]["text"]


def test_text_is_bounded_however_long_names_are() -> None:
    long = ingest(project="x" * 10_000, instrument="y" * 10_000)
    assert len(posted(long)[1]["text"]) < 400


def test_name_from_right_to_left_does_not_turn_its_neighbours_round() -> None:
    text = posted(ingest(project=HEBREW))[1]["text"]
    assert f"of project \u2068{HEBREW}\u2069 on instrument 54" in text
