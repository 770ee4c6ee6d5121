"""What is posted to a chat: one line that a person reads, in the form that the provider takes."""

import json
from collections.abc import Callable
from typing import Any, Final

from pacifica.notifications.delivery.arrival import arrival
from pacifica.notifications.delivery.links import Links
from pacifica.notifications.events import Event
from pacifica.notifications.events.http_binding import Message
from pacifica.notifications.subscriptions import Format

#: The longest text that is posted (characters). Discord takes 2,000, the others more.
MAX_TEXT: Final = 1000
# Each of these means something in the markup of a provider: a mention, a link, emphasis, a table.
# There is no escape that all of them know, so their full-width forms stand for them, which mean
# nothing (the Unicode block from U+FF01 on has those of ASCII in its order).
_MARKUP = str.maketrans({each: chr(ord(each) + 0xFEE0) for each in "<>&@#*_~`[]|\\$"})
# Google Chat asks for the character set.
_HEADERS = (("Content-Type", "application/json; charset=UTF-8"),)
_NO_PREVIEW = 1 << 2  # SUPPRESS_EMBEDS


def chat_message(form: Format, event: Event, links: Links) -> Message:
    """Return the message that tells a chat of an event, in one of the chats' forms."""
    told = arrival(event)
    text = without_markup(told.headline)[:MAX_TEXT]
    link = links.of(event.uuid, told.transaction)
    if len(text) + len(link) >= MAX_TEXT:
        link = ""
    return Message(_HEADERS, json.dumps(_FORMS[form](text, link)).encode())


def without_markup(text: str) -> str:
    """Return a text in which no chat finds a mention, a link or emphasis."""
    return text.translate(_MARKUP).replace("://", "\uff1a//")


def _text(text: str, link: str) -> dict[str, Any]:
    return {"text": f"{text} {link}".strip()}


def _discord(text: str, link: str) -> dict[str, Any]:
    content = f"{text} {link}".strip()
    return {"content": content, "allowed_mentions": {"parse": []}, "flags": _NO_PREVIEW}


def _teams(text: str, link: str) -> dict[str, Any]:
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "TextBlock", "text": text, "wrap": True}],
    }
    if link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open", "url": link}]
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": card}]}


_FORMS: dict[Format, Callable[[str, str], dict[str, Any]]] = {
    Format.TEXT: _text,
    Format.DISCORD: _discord,
    Format.TEAMS: _teams,
}
