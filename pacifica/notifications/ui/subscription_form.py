"""The form of a new subscription, and of one that is edited."""

import json
from collections.abc import Mapping
from typing import Any, Final

from pacifica.notifications.errors import InvalidInput, TooManySubscriptions
from pacifica.notifications.rest import eventmatch
from pacifica.notifications.rest.errors import ApiError
from pacifica.notifications.rest.segments import uuid_of
from pacifica.notifications.ui.screens import ANY, Page, Redirect, Route, Visit

_FIELDS: Final = (
    "name",
    "jsonpath",
    "target_url",
    "auth",
    "username",
    "password",
    "scheme",
    "credentials",
    "secret",
    "extensions",
)
_SECRETS: Final = ("password", "credentials", "secret")
# Which field of the form shows a problem with a field of the API.
_SHOWN_AT: Final = {
    "auth": "auth",
    "auth.type": "auth",
    "auth.basic.username": "username",
    "auth.basic.password": "password",
    "auth.header.type": "scheme",
    "auth.header.credentials": "credentials",
    "auth.signature.secrets": "secret",
    "auth.signature.secrets.0": "secret",
}
_PLACES: Final = {
    "name": "Name",
    "jsonpath": "Expression",
    "target_url": "Address",
    "auth": "Sign-in",
    "username": "User name",
    "password": "Password",
    "scheme": "Kind of token",
    "credentials": "Token",
    "secret": "Secret",
    "extensions": "Additional values",
}
_CHANGED: Final = (
    "The subscription was changed after you opened this form, perhaps in another tab. What you "
    "entered is below, without secrets. Save it again to replace that change."
)


def show_new(visit: Visit) -> Page:
    """Show the form of a new subscription, with what the address brings along."""
    given = {name: visit.query.get(name, "") for name in ("name", "jsonpath")}
    return _page(None, {**dict.fromkeys(_FIELDS, ""), "auth": "none", **given})


def create(visit: Visit) -> Page | Redirect:
    """Create a subscription; show the form again if something is wrong."""
    try:
        eventmatch.create(visit.user, _body(visit.form))
    except (InvalidInput, TooManySubscriptions, ApiError) as error:
        return _again(None, visit.form, error)
    return Redirect("?done=created")


def show_stored(visit: Visit, subscription: str) -> Page:
    """Show the form with what is stored, without secrets."""
    stored = eventmatch.read(visit.user, uuid_of(subscription))
    values = {name: stored[name] for name in ("name", "jsonpath", "target_url")}
    extensions = stored["extensions"]
    text = json.dumps(extensions, indent=2, ensure_ascii=False) if extensions else ""
    kept = {"auth": "keep" if stored["auth"] else "none", "extensions": text}
    return _page(stored, {**dict.fromkeys(_FIELDS, ""), **values, **kept})


def change(visit: Visit, subscription: str) -> Page | Redirect:
    """Change a subscription; show the form again if something is wrong."""
    uuid = uuid_of(subscription)
    stored = eventmatch.read(visit.user, uuid)
    if visit.form.get("seen") != stored["updated"]:
        return _page(stored, _as_sent(visit.form), {"": _CHANGED}, 409)
    try:
        eventmatch.change(visit.user, uuid, _body(visit.form))
    except (InvalidInput, ApiError) as error:
        return _again(stored, visit.form, error)
    return Redirect("?done=changed")


ROUTES: Final = (
    Route("GET", "subscriptions/new", show_new),
    Route("POST", "subscriptions/new", create, max_body=2**20),
    Route("GET", f"subscriptions/{ANY}/edit", show_stored),
    Route("POST", f"subscriptions/{ANY}/edit", change, max_body=2**20),
)


def _body(form: Mapping[str, str]) -> dict[str, Any]:
    """Return a form as the body that the API takes; raises InvalidInput."""
    body: dict[str, Any] = {
        "name": form.get("name", "").strip(),
        "jsonpath": on_one_line(form.get("jsonpath", "")),
        "target_url": form.get("target_url", "").strip(),
        "extensions": _extensions(form.get("extensions", "")),
    }
    if (auth := form.get("auth", "keep")) != "keep":
        body["auth"] = _auth(auth, form)
    return body


def on_one_line(expression: str) -> str:
    """Return an expression without the line breaks and blanks around lines of a text area."""
    return " ".join(line for each in expression.splitlines() if (line := each.strip()))


def _auth(kind: str, form: Mapping[str, str]) -> dict[str, Any]:
    if kind == "basic":
        names = ("username", "password")
        return {"type": kind, kind: {name: form.get(name, "") for name in names}}
    if kind == "header":
        scheme = form.get("scheme", "").strip() or "Bearer"
        credentials = form.get("credentials", "").strip()
        return {"type": kind, kind: {"type": scheme, "credentials": credentials}}
    if kind == "signature":
        return {"type": kind, kind: {"secrets": [form.get("secret", "").strip()]}}
    return {}


def _extensions(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(("extensions", 'is not JSON, such as {"site": "north"}')) from error
    if not isinstance(value, dict):
        raise InvalidInput(("extensions", 'must be a JSON object, such as {"site": "north"}'))
    return value


def _again(
    stored: Mapping[str, Any] | None,
    form: Mapping[str, str],
    error: InvalidInput | TooManySubscriptions | ApiError,
) -> Page:
    """Show the form as it was sent, without secrets, and each problem at its field."""
    values = _as_sent(form)
    if isinstance(error, InvalidInput):
        found = {_field(name): _sentence(said) for name, said in reversed(error.problems)}
        problems: dict[str, str] = {name: found[name] for name in ("", *_FIELDS) if name in found}
        return _page(stored, values, problems, 400)
    if isinstance(error, ApiError):
        if error.code == 403:  # not the user's: the same answer as for any other page
            raise error
        return _page(stored, values, {"": _sentence(error._message)}, error.code)
    return _page(stored, values, {"": _sentence(str(error))}, 403)


def _as_sent(form: Mapping[str, str]) -> dict[str, str]:
    return {name: form.get(name, "") for name in _FIELDS} | dict.fromkeys(_SECRETS, "")


def _field(name: str) -> str:
    if name in _SHOWN_AT:
        return _SHOWN_AT[name]
    first = name.partition(".")[0]
    return first if first in _FIELDS else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _page(
    stored: Mapping[str, Any] | None,
    values: Mapping[str, str],
    problems: Mapping[str, str] | None = None,
    status: int = 200,
) -> Page:
    auth = (stored or {}).get("auth") or {}
    return Page(
        "subscription_form.html",
        {
            "here": "subscriptions",
            "stored": stored,
            "stored_auth": auth.get("type") if isinstance(auth, dict) else None,
            "values": values,
            "problems": problems or {},
            "places": _PLACES,
        },
        status,
    )
