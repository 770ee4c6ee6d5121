"""The web page as tests read it without a browser: its elements, and forms that are sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import requests

from tests.integration.webservice import Service

_VOID = frozenset({"meta", "link", "input", "br"})


@dataclass
class Element:
    """An element with its attributes, and the text in it and in all that it contains."""

    name: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Document(HTMLParser):
    """All elements of a page, in order."""

    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop().name != tag:
            pass

    def handle_data(self, data: str) -> None:
        for each in self._open:
            each.text += data

    def all(self, name: str, /, **attributes: str) -> list[Element]:
        """Return the elements of a name that have these attributes."""
        return [
            each
            for each in self.elements
            if each.name == name and attributes.items() <= each.attributes.items()
        ]

    def by_id(self, identity: str) -> Element:
        """Return the element of an id."""
        (found,) = (each for each in self.elements if each.attributes.get("id") == identity)
        return found


def parsed(response: requests.Response) -> Document:
    """Return the page of a response."""
    document = Document()
    document.feed(response.text)
    return document


def visit(service: Service, user: str, path: str = "") -> Document:
    """Return a page that a user reads."""
    response = service.call("GET", f"/ui/{path}", user)
    assert response.status_code == 200, response.text
    return parsed(response)


def send(
    service: Service,
    user: str,
    path: str,
    form: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> requests.Response:
    """Send a form as a browser does, and return the response; no redirect is followed."""
    return service.session.post(
        f"{service.url}/ui/{path}",
        data={"made_for": user, **(form or {})},
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "Http-Remote-User": user,
            "Sec-Fetch-Site": "same-origin",
            **(headers or {}),
        },
        allow_redirects=False,
        timeout=20,
    )
