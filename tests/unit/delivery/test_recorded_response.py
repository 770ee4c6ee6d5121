"""What is recorded of a response, and how it is shown on one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.delivery import recorded_response, single_line
from pacifica.notifications.transport import Response, SendFailure


def response(body: bytes) -> Response:
    return Response(200, body, truncated=False, retry_after=None, seconds=0.1)


def test_recorded_response_is_status_and_body() -> None:
    assert recorded_response(response("thanks é 😀\r\n".encode())) == ("200", "thanks é 😀\r\n")


def test_recorded_response_is_the_reason_when_sending_failed() -> None:
    assert recorded_response(SendFailure("no connection", 0.1)) == ("", "no connection")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"a\0b", "a\ufffdb"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"cut \xf0\x9f\x98", "cut \ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
)
def test_recorded_response_replaces_what_a_database_cannot_store(body: bytes, text: str) -> None:
    assert recorded_response(response(body))[1] == text


@given(st.binary(max_size=200))
def test_recorded_response_can_be_stored_by_every_database(body: bytes) -> None:
    text = recorded_response(response(body))[1]
    assert "\0" not in text
    assert text.encode("utf-8", "strict").decode() == text


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("", ""),
        ("  a\r\n\tb\0\x1b[31mc  ", "a b [31mc"),
        ("a\u2028b\u202ec", "a b c"),
        ("x" * 501, "x" * 500),
        (" " * 5000 + "late", ""),
    ],
)
def test_single_line_is_one_line_of_limited_length(body: str, line: str) -> None:
    assert single_line(body) == line


@given(st.text(max_size=1000))
def test_single_line_has_printable_characters_only(body: str) -> None:
    line = single_line(body)
    assert line.isprintable()
    assert len(line) <= 500
    assert line == " ".join(line.split())
