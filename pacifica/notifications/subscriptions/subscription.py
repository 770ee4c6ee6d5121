"""Subscriptions: what one holds, and what its owner may change about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json import dumps
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from pacifica.notifications.errors import ExpressionError, InvalidInput
from pacifica.notifications.events.attributes import quoted
from pacifica.notifications.events.conversion import extension_problems
from pacifica.notifications.jsonpath import parse
from pacifica.notifications.schema import Schema
from pacifica.notifications.subscriptions.schemas import DELIVERY, SUBSCRIPTION

VERSION = "v0.1"
REQUIRED = ("name", "jsonpath", "target_url")
_SETTABLE = frozenset(SUBSCRIPTION["properties"])
_ONLY_ON_UPDATE = frozenset({"disabled", "error"})
_SCHEMA = Schema(SUBSCRIPTION)
_DELIVERY_SCHEMA = Schema(DELIVERY)


@dataclass(frozen=True)
class Subscription:
    """What delivering to one subscription takes; `revision` tells its states apart.

    `specversion` is the version of CloudEvents that it wants, empty for each event's own, and
    `mode` structured or binary. What may be secret stays out of its `repr`.
    """

    uuid: UUID
    user: str
    target_url: str = field(repr=False)
    extensions: Mapping[str, Any]
    auth: Mapping[str, Any] = field(repr=False)
    revision: int
    specversion: str = ""
    mode: str = "structured"


def new_subscription(body: Any, user: str, max_jsonpath: int) -> dict[str, Any]:
    """Return the checked columns of a new subscription from a request body.

    Raises InvalidInput with every field that is wrong.
    """
    stored = {"user": user, "version": VERSION, "disabled": None, "error": None, "deleted": None}
    changes = _checked(body, stored, max_jsonpath)
    absent = [(name, "is required") for name in REQUIRED if name not in changes]
    if absent:
        raise InvalidInput(*absent)
    return {"extensions": {}, "auth": {}, **changes, "user": user}


def changes_to(stored: Mapping[str, Any], body: Any, max_jsonpath: int) -> dict[str, Any]:
    """Return the checked columns that a request body changes in a stored subscription.

    `stored` is the subscription as its owner reads it. What the body does not name, or names with
    the stored value, is not in the result. Raises InvalidInput with every field that is wrong.
    """
    changes = _checked(body, stored, max_jsonpath, also=_ONLY_ON_UPDATE)
    if isinstance(changes.get("disabled"), str):
        changes["disabled"] = _moment(changes["disabled"])
    return changes


def delivery_changes(body: Any) -> dict[str, str]:
    """Return the checked columns that a request body changes in how a subscription is delivered.

    Raises InvalidInput with every field that is wrong.
    """
    if not isinstance(body, dict):
        raise InvalidInput(("body", "must be a JSON object"))
    refused = [(quoted(name), "cannot be set") for name in body.keys() - DELIVERY["properties"]]
    if refused:
        raise InvalidInput(*sorted(refused))
    _DELIVERY_SCHEMA.check(body)
    return {name: value or "" for name, value in body.items()}


def require_extensions(extensions: Mapping[str, Any], specversion: str) -> None:
    """Raise InvalidInput with every extension that a version of CloudEvents does not allow.

    Where a subscription wants each event's own version, empty, that shows when one comes.
    """
    refused = [
        (f"extensions.{quoted(name)}", f"{problem} (CloudEvents {specversion})")
        for name, problem in extension_problems(extensions, specversion)
    ]
    if refused:
        raise InvalidInput(*refused)


def _checked(
    body: Any, stored: Mapping[str, Any], max_jsonpath: int, also: frozenset[str] = frozenset()
) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidInput(("body", "must be a JSON object"))
    named = {name: value for name, value in body.items() if not _same(stored, name, value)}
    settable = (_SETTABLE - _ONLY_ON_UPDATE) | also
    refused = [(name[:64], "cannot be set") for name in named if name not in settable]
    if refused:
        raise InvalidInput(*refused)
    _SCHEMA.check(named)
    problems = [
        (name, problem)
        for name, problem in (
            ("jsonpath", _jsonpath_problem(named.get("jsonpath"), max_jsonpath)),
            ("target_url", _url_problem(named.get("target_url"))),
            *((name, _text_problem(value)) for name, value in named.items()),
            ("auth", _text_problem(dumps(named.get("auth"), ensure_ascii=False))),
        )
        if problem
    ]
    if problems:
        raise InvalidInput(*problems)
    if "auth" in named and named["auth"] is None:
        named["auth"] = {}
    return named


def _same(stored: Mapping[str, Any], name: str, value: Any) -> bool:
    """Tell whether a body repeats what is stored, as JSON: 1 and true are not the same."""
    return name in stored and dumps(stored[name], sort_keys=True) == dumps(value, sort_keys=True)


def _jsonpath_problem(text: str | None, max_length: int) -> str | None:
    if text is None:
        return None
    try:
        parse(text, max_length=max_length)
    except ExpressionError as error:
        return str(error)
    return None


def _url_problem(text: str | None) -> str | None:
    if text is None:
        return None
    if not text.isascii() or not text.isprintable() or " " in text:
        return "must be ASCII without spaces; percent-encode other characters"
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return "must be an http or https URL with a host"
    if parts.username is not None or parts.password is not None:
        return "must not hold credentials; put them into auth"
    return None


def _text_problem(value: Any) -> str | None:
    """Refuse in text columns what a database cannot store: NUL and lone surrogates."""
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= c <= "\udfff" for c in value)):
        return "has characters that cannot be stored"
    return None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError) as error:  # the latter next to the first and the last year
        raise InvalidInput(("disabled", "must be null or an ISO 8601 date and time")) from error
