"""What of an answer is kept, and shown to people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.delivery.answers import answered, shown
from pacifica.notifications.transport import Response, SendFailure


def answer(body: bytes) -> Response:
    return Response(200, body, truncated=False, retry_after=None, seconds=0.1)


def test_answered_gives_status_and_text() -> None:
    assert answered(answer("thanks é 😀\r\n".encode())) == ("200", "thanks é 😀\r\n")


def test_answered_gives_the_reason_when_there_is_no_answer() -> None:
    assert answered(SendFailure("no connection", 0.1)) == ("", "no connection")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"a\0b", "a\ufffdb"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"cut \xf0\x9f\x98", "cut \ufffd"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
)
def test_answered_replaces_what_a_database_refuses(body: bytes, text: str) -> None:
    assert answered(answer(body))[1] == text


@given(st.binary(max_size=200))
def test_answered_gives_text_that_every_database_takes(body: bytes) -> None:
    text = answered(answer(body))[1]
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
def test_shown_gives_one_line_that_is_not_too_long(body: str, line: str) -> None:
    assert shown(body) == line


@given(st.text(max_size=1000))
def test_shown_gives_printable_characters_only(body: str) -> None:
    line = shown(body)
    assert line.isprintable()
    assert len(line) <= 500
    assert line == " ".join(line.split())
