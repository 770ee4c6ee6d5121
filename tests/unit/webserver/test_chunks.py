"""Bodies in chunks: what they say is read, and nothing else is."""

import io

import pytest
from cheroot.errors import MaxSizeExceeded
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.webserver.chunks import ChunkedBody, after_chunk

parts_strategy = st.lists(st.binary(min_size=1, max_size=300), max_size=20)


def chunked(parts: list[bytes], trailer: bytes = b"") -> bytes:
    return b"".join(b"%X\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n" + trailer + b"\r\n"


@given(
    parts_strategy, st.integers(1, 400), st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC: d\r\n"])
)
def test_body_is_what_was_sent_whatever_sizes_it_is_read_in(
    parts: list[bytes], size: int, trailer: bytes
) -> None:
    stream = io.BytesIO(chunked(parts, trailer) + b"GET / HTTP/1.1\r\n")
    body = ChunkedBody(stream, 100_000)
    assert b"".join(iter(lambda: body.read(size), b"")) == b"".join(parts)
    assert body.closed
    assert stream.read() == b"GET / HTTP/1.1\r\n"


@given(parts_strategy, st.data())
def test_end_is_found_exactly_when_the_body_is_there(
    parts: list[bytes], data: st.DataObject
) -> None:
    whole = chunked(parts)
    there = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    at, is_last = 0, False
    while not is_last and (after := after_chunk(there, at)):
        at, is_last = after
    assert is_last == (len(there) == len(whole))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"2", b"2\r\n", b"2\r\n{", b"2\r\n{}", b"2\r\n{}}\r\n0\r\n\r\n"),
        *(b"2\n{}\r\n0\r\n\r\n", b"2\r\n{}\n0\r\n\r\n", b"2 2\r\n{}\r\n0\r\n\r\n"),
        *(b"+2\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}", b"0x2\r\n{}\r\n0\r\n\r\n", b"1_0\r\n"),
        *(b" 2\r\n{}\r\n0\r\n\r\n", b"2;\x00\r\n{}\r\n0\r\n\r\n", b"2\r\n{}\r\n0\r\n"),
        *(b"\r\n{}", b"g\r\n", b"0" * 5000 + b"\r\n", b"f" * 16 + b"\r\n"),
    ],
)
def test_body_is_refused_when_it_is_not_plain_where_it_ends(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"chunk|body"):
        ChunkedBody(io.BytesIO(body), 100_000).read()


def test_body_is_refused_when_it_is_too_large_with_the_sizes_of_its_chunks() -> None:
    body = chunked([b"a"] * 100)
    assert ChunkedBody(io.BytesIO(body), len(body)).read() == b"a" * 100
    with pytest.raises(MaxSizeExceeded):
        ChunkedBody(io.BytesIO(body), 300).read()
    with pytest.raises(MaxSizeExceeded):
        ChunkedBody(io.BytesIO(b"FFFFFFFF\r\n"), 1000).read(10)
