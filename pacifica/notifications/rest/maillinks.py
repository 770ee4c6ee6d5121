"""`/mail`: what the links in mails lead to; reading them changes nothing, only a button does.

Whoever opens them need not be a user. What a link holds is all that is asked for.
"""

import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import cherrypy
from cherrypy.lib.httputil import parse_query_string

from pacifica.notifications.mail import is_signed, named_in
from pacifica.notifications.rest.context import KEY, Context
from pacifica.notifications.rest.errors import ApiError, answering_errors
from pacifica.notifications.store import agreements, audit
from pacifica.notifications.store.agreements import NOT_AGREED, Agreed
from pacifica.notifications.store.holding import disable

# Bytes of a body: one field, in either form of RFC 8058, section 3.2.
_MAX_BODY, _MAX_DIGITS = 4096, 9
_MAX_TOKEN = 200
_ONE_CLICK = b"List-Unsubscribe"
_STYLE = (
    "body{margin:0;padding:1rem;font:1rem/1.5 system-ui,sans-serif;color:#1b1f24;background:#fff}"
    "main{max-width:40rem;margin:2rem auto}button{font:inherit;padding:.6rem 1.1rem;margin:0 .5rem "
    ".5rem 0;border-radius:6px;border:1px solid #0550ae;background:#0550ae;color:#fff}"
    "button.plain{background:#fff;color:#0550ae}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}}"
)
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    # The address holds the token; nobody else is to learn it.
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
}


class MailLinks:
    """The resources below `/mail`."""

    def __init__(self, shared: Context) -> None:
        self.confirm = _Confirm(shared)
        self.unsubscribe = _Unsubscribe(shared)


class _Link:
    """A page that shows what its link is for, and does that when it is posted to itself."""

    exposed = True

    def __init__(self, shared: Context) -> None:
        self._cp_config = {KEY: shared, "hooks.before_handler": _require_token}

    @answering_errors
    def GET(self) -> bytes:  # noqa: N802
        """Show what the button does; nothing changes."""
        return self._shown(self._agreement())

    @answering_errors
    def POST(self) -> bytes:  # noqa: N802
        """Do what the button says."""
        return self._done(self._agreement(), _body())

    def _agreement(self) -> Agreed | None:
        raise NotImplementedError

    def _shown(self, agreed: Agreed | None) -> bytes:
        raise NotImplementedError

    def _done(self, agreed: Agreed | None, body: bytes) -> bytes:
        raise NotImplementedError


class _Confirm(_Link):
    """`/mail/confirm`: agree to mails, or want none of anybody."""

    def _agreement(self) -> Agreed | None:
        return agreements.agreement_asked(_token())

    def _shown(self, agreed: Agreed | None) -> bytes:
        if agreed is None:
            return _page(404, _EXPIRED)
        return _page(
            200,
            "Mails about new data",
            f"The user {_bdi(agreed.user)} wants to have mails about new data sent to "
            f"{_bdi(agreed.address)}.",
            _form(
                ("answer=agree", "I want these mails", ""),
                ("answer=never", "Never write to me", "plain"),
            ),
        )

    def _done(self, agreed: Agreed | None, body: bytes) -> bytes:
        if body not in (b"answer=agree", b"answer=never"):
            raise ApiError(400, "the body must be answer=agree or answer=never")
        act: Callable[[str], Agreed | None] = (
            agreements.agree if body == b"answer=agree" else agreements.block
        )
        found = act(_token()) if agreed is not None else None
        if found is None:
            return _page(404, _EXPIRED)
        _record(found, "agreed" if body == b"answer=agree" else "blocked")
        if body == b"answer=never":
            return _page(200, "No mail comes", f"{_bdi(found.address)} is asked no more.")
        return _page(200, "Thank you", f"Mails of {_bdi(found.user)} come to this address now.")


class _Unsubscribe(_Link):
    """`/mail/unsubscribe`: no more mails of a user; mail programs do so with one click."""

    def _agreement(self) -> Agreed | None:
        named = named_in(_token())
        if named is None or named[1] < time.time():
            return None
        found = agreements.agreement_by_uuid(named[0])
        return found if found is not None and is_signed(_token(), found.secret) else None

    def _shown(self, agreed: Agreed | None) -> bytes:
        if agreed is None:
            return _page(404, _EXPIRED)
        return _page(
            200,
            "Unsubscribe",
            f"The subscriptions of {_bdi(agreed.user)} then send no mail to "
            f"{_bdi(agreed.address)} any more.",
            _form(("List-Unsubscribe=One-Click", "Unsubscribe", "")),
        )

    def _done(self, agreed: Agreed | None, body: bytes) -> bytes:
        if agreed is None:
            return _page(404, _EXPIRED)
        if _ONE_CLICK not in body or b"One-Click" not in body:
            raise ApiError(400, "the body must be List-Unsubscribe=One-Click")
        agreements.leave(agreed.uuid)
        _record(agreed, "left")
        for uuid in agreements.mailed_to(agreed.user, agreed.address):
            disable(uuid, f"{NOT_AGREED} any more: {agreed.address} has unsubscribed")
        return _page(200, "Done", f"{_bdi(agreed.address)} is unsubscribed.")


_EXPIRED = "This link cannot be used: it is not complete, too old, or was used before"


def _record(agreed: Agreed, what: str) -> None:
    """Have the audit log tell what an address did, of whom nothing else is known."""
    audit.record("", f"address {what}", agreed.user, details={"address": agreed.address})


def _require_token() -> None:
    """Take the token from the query, which is all that this path takes."""
    request = cherrypy.request
    if request.method not in ("GET", "HEAD", "POST"):
        cherrypy.response.headers["Allow"] = "GET, HEAD, POST"
        raise ApiError(405, f"{request.method} is not allowed here")
    if len([part for part in request.path_info.split("/") if part]) != 2:
        raise ApiError(404, "there is nothing at this path")
    request.params = {}


def _token() -> str:
    found: Any = parse_query_string(cherrypy.request.query_string).get("token", "")
    return found if isinstance(found, str) and len(found) <= _MAX_TOKEN else ""


def _body() -> bytes:
    """Return the body of a form, in either encoding."""
    length = cherrypy.request.headers.get("Content-Length", "")
    # The number of digits comes first: zeros before the number are no way past the bound.
    if not length.isdecimal() or len(length) > _MAX_DIGITS or int(length) > _MAX_BODY:
        raise ApiError(413, f"the body must have a length of at most {_MAX_BODY} bytes")
    body: bytes = cherrypy.request.rfile.read(int(length))
    return body


def _page(status: int, title: str, text: str = "", form: str = "") -> bytes:
    cherrypy.response.status = status
    cherrypy.response.headers.update(_HEADERS)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1><p>{text}</p>{form}</main></body></html>\n"
    ).encode()


def _form(*buttons: tuple[str, str, str]) -> str:
    shown: Sequence[str] = [
        f'<button name="{name}" value="{value}" class="{kind}">{escape(text)}</button>'
        for field, text, kind in buttons
        for name, _, value in [field.partition("=")]
    ]
    return f'<form method="post">{"".join(shown)}</form>'


def _bdi(name: str) -> str:
    return f"<bdi>{escape(name)}</bdi>"
