"""How far a request has arrived: the same whatever pieces it comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.webserver.arrival import Arrival, Progress, Sizes

SIZES = Sizes(head=500, body=2000, gathered=1000)
FIRST = b"POST /receive HTTP/1.1\r\n"
ENDED = (Progress.WHOLE, Progress.LARGE, Progress.REFUSED)


def progress(received: bytes, sizes: Sizes = SIZES) -> Progress:
    return Arrival(sizes).progress(bytearray(received))


@pytest.mark.parametrize(
    "received",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\nGET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: b\r\n\r\nGET / HT",
        FIRST + b"Content-Length: 2\r\n\r\n{}",
        FIRST + b"CONTENT-LENGTH:2 \r\n\r\n{}{",
        FIRST + b"Content-Length: 2000\r\n\r\n" + b" " * 2000,
        FIRST + b"Transfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        FIRST + b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\n{}\r\n000\r\nTrailer: a\r\n\r\nGET",
    ],
)
def test_request_is_whole_when_all_of_it_is_there(received: bytes) -> None:
    assert progress(received) is Progress.WHOLE


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"", Progress.HEAD),
        (b"\r", Progress.HEAD),
        (b"\r\n", Progress.HEAD),
        (b"GET / HTTP/1.1\r\nA: b\r\n\r", Progress.HEAD),
        (FIRST + b"Content-Length: 2\r\n\r\n{", Progress.BODY),
        (FIRST + b"Transfer-Encoding: chunked\r\n\r\n", Progress.BODY),
        (FIRST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", Progress.BODY),
        (FIRST + b"Content-Length: 2000\r\n\r\n" + b" " * 999, Progress.BODY),
        (FIRST + b"Content-Length: 2000\r\n\r\n" + b" " * 1000, Progress.LARGE),
        (FIRST + b"Transfer-Encoding: chunked\r\n\r\n7D0\r\n" + b" " * 1000, Progress.LARGE),
        (FIRST + b"Transfer-Encoding: chunked\r\n\r\n" + b"0001\r\n \r\n" * 300, Progress.LARGE),
    ],
)
def test_request_is_waited_for_when_some_of_it_is_missing(
    received: bytes, expected: Progress
) -> None:
    assert progress(received) is expected


@pytest.mark.parametrize(
    "received",
    [
        b"\x16\x03\x01",
        b"get / HTTP/1.1\r\n",
        b" GET / HTTP/1.1\r\n",
        b"GET /\r\n",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nA: b\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET /" + b"a" * 500,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100 + b"\r\n",
        FIRST + b"Content-Length: 2001\r\n\r\n",
        FIRST + b"Content-Length: +2\r\n\r\n{}",
        FIRST + b"Content-Length: 2_0\r\n\r\n{}",
        FIRST + b"Content-Length:\r\n\r\n{}",
        FIRST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        FIRST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        FIRST + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
        FIRST + b"Transfer-Encoding: gzip\r\n\r\n",
        FIRST + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n",
        FIRST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n",
        FIRST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n",
        FIRST + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 5000,
        FIRST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a" * 5000,
    ],
)
def test_request_is_not_waited_for_when_it_will_be_refused(received: bytes) -> None:
    assert progress(received) is Progress.REFUSED


@pytest.mark.parametrize("value", [b"100-continue", b" 100-Continue "])
def test_client_is_known_to_wait_when_it_says_so(value: bytes) -> None:
    arrival = Arrival(SIZES)
    head = FIRST + b"Expect:" + value + b"\r\nContent-Length: 5\r\n\r\n"
    assert arrival.progress(bytearray(head)) is Progress.BODY
    assert arrival.expects_continue


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Make a request that is right, or nearly."""
    body = draw(st.binary(max_size=200))
    if draw(st.booleans()):
        head = b"Content-Length: %d\r\n" % len(body)
    else:
        head = b"Transfer-Encoding: chunked\r\n"
        sizes = draw(st.lists(st.integers(1, 50), max_size=5))
        chunks = [b"%x\r\n%s\r\n" % (size, b"a" * size) for size in sizes]
        body = b"".join(chunks) + b"0\r\n\r\n"
    request = bytearray(FIRST + head + b"\r\n" + body)
    for _ in range(draw(st.integers(0, 2))):
        request[draw(st.integers(0, len(request) - 1))] = draw(st.sampled_from(b"\r\n:0aA \x00"))
    return bytes(request)


@given(requests(), st.data())
def test_request_is_judged_the_same_whatever_pieces_it_comes_in(
    request: bytes, data: st.DataObject
) -> None:
    at_once = progress(request)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(request)), max_size=10)))
    arrival, ends = Arrival(SIZES), Progress.HEAD
    for cut in (*cuts, len(request)):
        ends = arrival.progress(bytearray(request[:cut]))
        if ends in ENDED:
            break
    # One that will be refused may be seen to be so before its end, and then is refused at its end.
    assert ends is at_once or (ends is Progress.REFUSED and at_once is not Progress.LARGE)


@given(st.binary(max_size=700))
def test_judging_never_fails_whatever_comes(received: bytes) -> None:
    assert progress(received) in Progress
    assert progress(FIRST + received) in Progress
    assert progress(FIRST + b"Transfer-Encoding: chunked\r\n\r\n" + received) in Progress
