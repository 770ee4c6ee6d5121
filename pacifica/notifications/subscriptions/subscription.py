"""A subscription: its fields for delivery, and the checks of what its owner sets."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from json import dumps
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from pacifica.notifications.errors import ExpressionError, InvalidInput
from pacifica.notifications.events import STRUCTURED, extension_problems, printable_name
from pacifica.notifications.jsonpath import parse
from pacifica.notifications.spelling import nearest
from pacifica.notifications.subscriptions.channel import PULL_URL, Channel
from pacifica.notifications.subscriptions.format import Digest, Format
from pacifica.notifications.subscriptions.mailbox import mailbox
from pacifica.notifications.subscriptions.schemas import DELIVERY_FORMAT_SCHEMA, SUBSCRIPTION_SCHEMA
from pacifica.notifications.validation import Schema

SUBSCRIPTION_VERSION = "v0.1"
REQUIRED_FIELDS = ("name", "jsonpath", "target_url")
_SETTABLE = frozenset(SUBSCRIPTION_SCHEMA["properties"])
_ONLY_ON_UPDATE = frozenset({"disabled", "error"})
_FIELDS = _SETTABLE | {"uuid", "user", "version", "created", "updated", "deleted"}
_SCHEMA = Schema(SUBSCRIPTION_SCHEMA)
_FORMAT_SCHEMA = Schema(DELIVERY_FORMAT_SCHEMA)


@dataclass(frozen=True)
class Subscription:
    """The fields of a subscription that its deliveries need.

    `revision` changes with each change to the subscription. `specversion` is the version of
    CloudEvents in which it gets events, empty for each event's own version. `mode` is structured
    or binary. `format` is what a webhook is sent, and `digest` how many events come in one mail.
    The `repr` omits fields that may be secret.
    """

    uuid: UUID
    user: str
    target_url: str = field(repr=False)
    extensions: Mapping[str, Any]
    auth: Mapping[str, Any] = field(repr=False)
    revision: int
    specversion: str = ""
    mode: str = STRUCTURED
    format: Format = Format.EVENT
    digest: Digest = Digest.EACH

    @cached_property
    def channel(self) -> Channel:
        """How it gets its events."""
        return Channel.of(self.target_url)

    @property
    def is_pulled(self) -> bool:
        """Whether its owner fetches its events, so that none is sent."""
        return self.channel is Channel.PULL


def new_subscription(body: Any, user: str, max_jsonpath: int) -> dict[str, Any]:
    """Validate a request body, and return the columns of a new subscription.

    Raises InvalidInput with every invalid field.
    """
    stored = {
        "user": user,
        "version": SUBSCRIPTION_VERSION,
        "disabled": None,
        "error": None,
        "deleted": None,
    }
    changes = _checked(body, stored, max_jsonpath, required=REQUIRED_FIELDS)
    return {"extensions": {}, "auth": {}, **changes, "user": user}


def subscription_changes(stored: Mapping[str, Any], body: Any, max_jsonpath: int) -> dict[str, Any]:
    """Validate a request body, and return the columns of a subscription to change.

    `stored` is the subscription as its owner reads it. A field with the stored value is not a
    change, and is not validated. Raises InvalidInput with every invalid field.
    """
    changes = _checked(body, stored, max_jsonpath, also=_ONLY_ON_UPDATE)
    if isinstance(changes.get("disabled"), str):
        changes["disabled"] = _disabled_time(changes["disabled"])
    return changes


def delivery_format_changes(body: Any) -> dict[str, Any]:
    """Validate a request body, and return the columns of a delivery format to change.

    Raises InvalidInput with every invalid field.
    """
    if not isinstance(body, dict):
        raise InvalidInput(("body", "must be a JSON object"))
    settable = DELIVERY_FORMAT_SCHEMA["properties"]
    refused = [(printable_name(name), _refusal(name, settable)) for name in body.keys() - settable]
    if refused:
        raise InvalidInput(*sorted(refused))
    _FORMAT_SCHEMA.check(body)
    return {name: "" if value is None else value for name, value in body.items()}


def check_extensions(extensions: Mapping[str, Any], specversion: str) -> None:
    """Raise InvalidInput with each extension that a CloudEvents version forbids.

    An empty `specversion` means each event's own version; then each delivery checks them.
    """
    refused = [
        (f"extensions.{printable_name(name)}", f"{problem} (CloudEvents {specversion})")
        for name, problem in extension_problems(extensions, specversion)
    ]
    if refused:
        raise InvalidInput(*refused)


def _checked(
    body: Any,
    stored: Mapping[str, Any],
    max_jsonpath: int,
    also: frozenset[str] = frozenset(),
    required: tuple[str, ...] = (),
) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise InvalidInput(("body", "must be a JSON object"))
    changed = {name: value for name, value in body.items() if not _is_stored(stored, name, value)}
    settable = (_SETTABLE - _ONLY_ON_UPDATE) | also
    known = {name: value for name, value in changed.items() if name in settable}
    problems = [
        *((name[:64], _refusal(name, settable)) for name in changed if name not in settable),
        *((name, "is required") for name in required if name not in changed),
        *_SCHEMA.problems(known),
    ]
    broken = {name.partition(".")[0] for name, _ in problems}
    valid = {name: value for name, value in known.items() if name not in broken}
    problems += [
        (name, problem)
        for name, problem in (
            ("jsonpath", _jsonpath_problem(valid.get("jsonpath"), max_jsonpath)),
            ("target_url", _url_problem(valid.get("target_url"))),
            *((name, _text_problem(value)) for name, value in valid.items()),
            ("auth", _text_problem(dumps(valid.get("auth"), ensure_ascii=False))),
        )
        if problem
    ]
    if problems:
        raise InvalidInput(*problems)
    if "auth" in changed and changed["auth"] is None:
        changed["auth"] = {}
    return changed


def _refusal(name: str, settable: Collection[str]) -> str:
    """Return why a field is refused: it is not the caller's to set, or it does not exist."""
    if name in _FIELDS:
        return "cannot be set"
    meant = nearest(name, settable)
    return f"unknown field: did you mean {meant}?" if meant else "unknown field"


def _is_stored(stored: Mapping[str, Any], name: str, value: Any) -> bool:
    """Return whether a value equals the stored one as JSON: 1 differs from true."""
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
    if Channel.of(text) is Channel.MAIL:
        return None if mailbox(text) else "must be mailto: and one address, without anything else"
    if not text.isascii() or not text.isprintable() or " " in text:
        return "must be ASCII without spaces; percent-encode other characters"
    if Channel.of(text) is Channel.PULL:
        return None if text == PULL_URL else f"must be {PULL_URL} and nothing more, to be pulled"
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return f"must be an http or https URL with a host, or {PULL_URL}"
    if parts.username is not None or parts.password is not None:
        return "must not hold credentials; put them into auth"
    return None


def _text_problem(value: Any) -> str | None:
    """Refuse characters that some databases cannot store: NUL and lone surrogates."""
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= c <= "\udfff" for c in value)):
        return "has characters that cannot be stored"
    return None


def _disabled_time(text: str) -> datetime:
    """Return a time as naive UTC, or raise InvalidInput."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError) as error:  # OverflowError: a time near year 1 or 9999
        raise InvalidInput(("disabled", "must be null or an ISO 8601 date and time")) from error
