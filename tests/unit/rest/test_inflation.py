"""Making large again what gzip made small: exactly, and never more than is allowed."""

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.rest.body import inflated

MEGABYTE = 2**20


@given(st.lists(st.binary(max_size=100) | st.binary(max_size=100).map(lambda some: some * 1000)))
def test_body_is_what_was_compressed_whatever_it_is(parts: list[bytes]) -> None:
    plain = b"".join(parts)
    packed = b"".join(gzip.compress(part) for part in parts) or gzip.compress(b"")
    assert inflated(packed, len(plain)) == plain
    if plain:
        assert inflated(packed, len(plain) - 1) is None


def test_body_is_none_when_it_is_too_large_and_is_never_made() -> None:
    bomb = gzip.compress(b"\0" * (64 * MEGABYTE))
    assert len(bomb) < MEGABYTE / 10
    tracemalloc.start()
    try:
        assert inflated(bomb, MEGABYTE) is None
        assert tracemalloc.get_traced_memory()[1] < 3 * MEGABYTE
    finally:
        tracemalloc.stop()


@given(st.binary())
def test_body_is_refused_when_it_is_no_gzip(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="gzip"):
        inflated(body, MEGABYTE)


@given(st.binary(min_size=1, max_size=200), st.data())
def test_body_is_refused_when_it_ends_before(plain: bytes, data: st.DataObject) -> None:
    packed = gzip.compress(plain)
    end = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(InvalidInput, match="gzip"):
        inflated(packed[:end], MEGABYTE)


@pytest.mark.parametrize("more", [b"x", b"\0", b"\0" * 100_000, gzip.compress(b"x", mtime=0)[:-1]])
def test_body_is_refused_when_something_else_follows(more: bytes) -> None:
    with pytest.raises(InvalidInput, match="gzip"):
        inflated(gzip.compress(b"{}") + more, MEGABYTE)


def test_body_is_refused_when_it_has_very_many_members() -> None:
    one = gzip.compress(b"")
    assert inflated(one * 64, 1) == b""
    with pytest.raises(InvalidInput, match="64 members"):
        inflated(one * 1_000_000, 1)
