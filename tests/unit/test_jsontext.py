"""JSON is read strictly and within bounds, and written in ASCII."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.errors import InvalidInput, TooManyValues
from pacifica.notifications.jsontext import (
    MAX_VALUES,
    count_values,
    is_deeper,
    read_json,
    write_json,
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def depth(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    children = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, children), default=0)


def refused(body: bytes, max_depth: int = 10) -> str:
    with pytest.raises(InvalidInput) as refusal:
        read_json(body, max_depth)
    ((field, reason),) = refusal.value.problems
    assert field == "body"
    assert reason.isascii()
    assert reason.isprintable()
    return reason


@given(values)
def test_read_json_returns_what_write_json_wrote(value: Any) -> None:
    text = write_json(value)
    assert text.isascii()
    assert text.isprintable()
    assert repr(read_json(text.encode(), 100)) == repr(value)


@given(values)
def test_read_json_returns_what_another_library_wrote(value: Any) -> None:
    pretty = json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert repr(read_json(pretty, 100)) == repr(value)


@given(st.binary())
def test_read_json_returns_a_value_or_raises_invalid_input_for_any_bytes(body: bytes) -> None:
    try:
        value = read_json(body, 10)
    except InvalidInput:
        return
    assert repr(value) == repr(json.loads(body))


@given(values, st.integers(min_value=0, max_value=8))
def test_is_deeper_counts_nested_arrays_and_objects(value: Any, limit: int) -> None:
    assert is_deeper(value, limit) == (depth(value) > limit)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b" ", "not JSON"),
        (b"{} {}", "Extra data at line 1 column 4"),
        (b'{\n"a": x}', "line 2 column 6"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b"[01]", "not JSON"),
        (b'"\t"', "control character"),
        (b'"\\x41"', "not JSON"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b'{"\xff": 1}', "not UTF-8 at byte 2"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        ("{}".encode("utf-32-le"), "not JSON"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b"1e999", "too large"),
        (b"[-1e999]", "too large"),
        (b"1" * 5000, "too large"),
        (b'{"a": 1, "a": 1}', "'a' twice"),
        (b'[{"b": {"\\u00e9": 1, "\xc3\xa9": 2}}]', "'\\xe9' twice"),
        (b'{"\\ud800": 1, "\\ud800": 2}', "'\\ud800' twice"),
        (b"[" * 11 + b"]" * 11, "more than 10 deep"),
        (b"[" * 100_000, "more than 10 deep"),
        (b'{"a":' * 100_000, "more than 10 deep"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_read_json_refuses_with_a_reason_what_is_not_strict_json(body: bytes, reason: str) -> None:
    assert reason in refused(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b" null\n", None),
        (b"1e-999", 0.0),
        (b"1" * 4000, int("1" * 4000)),
        (b'"\\u0000\\ud800"', "\0\ud800"),
        (b"[" * 10 + b"]" * 10, [[[[[[[[[[]]]]]]]]]]),
        (b'{"a": {"b": 1}, "b": {"a": 1}}', {"a": {"b": 1}, "b": {"a": 1}}),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_read_json_accepts_unusual_but_strict_json(body: bytes, value: Any) -> None:
    assert read_json(body, 10) == value


def test_write_json_refuses_what_json_cannot_express() -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json([float("nan")])


def number_of_values(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 1
    children = value.values() if isinstance(value, dict) else value
    return 1 + sum(map(number_of_values, children))


@given(values)
def test_count_values_is_never_less_than_what_is_built(value: Any) -> None:
    assert count_values(write_json(value).encode()) >= number_of_values(value) - 1


@pytest.mark.parametrize("item", [b"0", b"[]", b"{}", b"[[", b'{"a":'])
def test_read_json_refuses_too_many_values_before_it_builds_any(item: bytes) -> None:
    body = b"[" + b",".join([item] * (MAX_VALUES + 1)) + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(TooManyValues, match="250000"):
            read_json(body, 100)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_read_json_reads_as_many_values_as_are_allowed() -> None:
    assert len(read_json(b"[" + b"0," * (MAX_VALUES - 1) + b"0]", 100)) == MAX_VALUES
