"""What is fed, and what it must make of whatever it is given: a value, or one error that it names.

An exception that leaves a target is a crash, and so is a promise that does not hold.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any

from hypothesis import strategies as st

from pacifica.notifications.errors import BatchTooLong, ExpressionError, InvalidInput
from pacifica.notifications.events import (
    MODES,
    VERSIONS,
    Event,
    parse_batch,
    parse_binary,
    parse_event,
)
from pacifica.notifications.jsonpath import find, parse
from pacifica.notifications.jsontext import is_deeper
from pacifica.notifications.subscriptions import (
    SUBSCRIPTION_SCHEMA,
    delivery_format_changes,
    new_subscription,
    subscription_changes,
)
from tests.fuzz import inputs
from tests.support.jsonpaths import jsonpaths, values
from tests.unit.consumer.test_archive import only_extracted

_DEPTH = 100
_LONGEST = 4096
_BUDGET = 20_000
_STORED = {
    "uuid": "u",
    "name": "n",
    "jsonpath": "$",
    "user": "me",
    "disabled": None,
    "error": None,
    "target_url": "http://h/",
    "version": "v0.1",
    "extensions": {},
    "auth": {},
    "created": "c",
    "updated": "c",
    "deleted": None,
}


@dataclass(frozen=True)
class Target:
    """Something that reads what others wrote: its inputs; `read` tells whether it took one."""

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], bool]


def _structured(given: tuple[bytes, bool]) -> bool:
    body, require_version = given
    try:
        event = parse_event(body, _DEPTH, require_version=require_version)
    except InvalidInput as error:
        return _refused(error)
    return _sound(event)


def _binary(given: tuple[dict[str, str], str, bytes]) -> bool:
    headers, content_type, body = given
    try:
        event = parse_binary(headers, content_type, body, _DEPTH)
    except InvalidInput as error:
        return _refused(error)
    return bool(event.version) and _sound(event)


def _batch(body: bytes) -> bool:
    try:
        events = parse_batch(body, _DEPTH, max_events=3)
    except InvalidInput as error:
        return _refused(error)
    except BatchTooLong:
        return False
    assert len(events) <= 3
    return all(event.version and _sound(event) for event in events)


def _sound(event: Event) -> bool:
    """Check that what was taken can be stored, read again as the same, and sent in every form."""
    assert event.text.isascii()
    assert not is_deeper(event.document(), _DEPTH)
    again = parse_event(event.encoded, _DEPTH)
    assert (again.text, again.version) == (event.text, event.version)
    for version in ("", *VERSIONS):
        for mode in MODES:
            for text in chain.from_iterable(event.message(version, mode).headers):
                assert text.isascii()
                assert text.isprintable()
    return True


def _new(given: Any) -> bool:
    try:
        columns = new_subscription(given, "me", _LONGEST)
    except InvalidInput as error:
        return _refused(error)
    assert columns["user"] == "me"
    return _storable(columns)


def _changes(given: Any) -> bool:
    try:
        columns = subscription_changes(_STORED, given, _LONGEST)
    except InvalidInput as error:
        return _refused(error)
    assert columns.keys() <= SUBSCRIPTION_SCHEMA["properties"].keys()
    return _storable(columns)


def _delivery_format(given: Any) -> bool:
    try:
        changes = delivery_format_changes(given)
    except InvalidInput as error:
        return _refused(error)
    assert changes.get("specversion", "") in ("", *VERSIONS)
    assert changes.get("mode", MODES[0]) in MODES
    return True


def _storable(columns: dict[str, Any]) -> bool:
    """Check that every database can store the texts, and that the rest can be written as JSON."""
    for name in ("name", "jsonpath", "target_url", "error"):
        text = columns.get(name) or ""
        assert "\0" not in text
        text.encode()
    json.dumps([columns.get("extensions"), columns.get("auth")])
    return True


def _jsonpath(given: tuple[str, Any]) -> bool:
    text, data = given
    try:
        expression = parse(text, _LONGEST)
    except ExpressionError as error:
        return _in_one_line(error)
    try:
        assert isinstance(find(expression, data, _BUDGET), bool)
    except ExpressionError as error:
        return _in_one_line(error)
    return True


def _in_one_line(error: ExpressionError) -> bool:
    lines = str(error).split("\n")
    assert len(lines) == 1
    assert lines[0]
    return False


def _refused(error: InvalidInput) -> bool:
    """Check that an error is made of words that can be answered."""
    problems = json.loads(json.dumps(error.problems))
    assert problems
    assert all(isinstance(field, str) and reason for field, reason in problems)
    return False


TARGETS: tuple[Target, ...] = (
    Target("event", st.tuples(inputs.EVENT_BODIES, st.booleans()), _structured),
    Target(
        "binary event", st.tuples(inputs.headers(), inputs.CONTENT_TYPES, inputs.BODIES), _binary
    ),
    Target("batch", inputs.BATCH_BODIES, _batch),
    Target("new subscription", inputs.subscriptions(), _new),
    Target("changes", inputs.subscriptions(), _changes),
    Target("delivery", inputs.FORMATS, _delivery_format),
    Target("jsonpath text", st.tuples(inputs.JSONPATHS, values), _jsonpath),
    Target("jsonpath grammar", st.tuples(jsonpaths, values), _jsonpath),
    Target("archive", inputs.ARCHIVES, only_extracted),
)
