"""Values of headers: percent-encoding and its reverse (HTTP binding 1.0.2, section 3.1.3.2)."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.events.attributes import text_problem
from pacifica.notifications.events.headers import decode_value, encode_value

TEXTS = st.text().filter(lambda text: text_problem(text) is None)


def test_value_is_encoded_as_in_the_specifications_example() -> None:
    assert encode_value("Euro € 😀") == "Euro%20%E2%82%AC%20%F0%9F%98%80"


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ('a "b" 5%', "a%20%22b%22%205%25"),
        ("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        ("\x7f\xa0", "%7F%C2%A0"),
        ("a\r\nb", "a%0D%0Ab"),
        (True, "true"),
        (False, "false"),
        (-2147483648, "-2147483648"),
        ({"a": "é"}, "{%22a%22:%20%22\\u00e9%22}"),
        ("", ""),
    ],
)
def test_value_is_encoded_as_its_canonical_string(value: Any, encoded: str) -> None:
    assert encode_value(value) == encoded


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("%e2%82%ac", "€"),
        ("%41%62c", "Abc"),
        ("%2525", "%25"),
        ("a b", "a b"),
        ('"a b"', "a b"),
        (r'"a \"b\" \\ \c"', 'a "b" \\ c'),
        ('"%E2%82%AC"', "€"),
        ('say "hi"', 'say "hi"'),
        ('"a" and "b"', '"a" and "b"'),
        ('"unfinished', '"unfinished'),
        ('""', ""),
        (" \tx ", "x"),
        ("é".encode().decode("latin-1"), "é"),
        ("1+1", "1+1"),
    ],
)
def test_value_is_decoded(header: str, text: str) -> None:
    assert decode_value(header) == text


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("%C0%A0", "UTF-8"),
        ("%FF", "UTF-8"),
        ("%ED%A0%80", "UTF-8"),
        ("é".encode("latin-1").decode("latin-1"), "UTF-8"),
        ("Ā", "UTF-8"),
        ("50%", "%25"),
        ("%zz", "%25"),
        ("%4", "%25"),
        ("a%00b", "characters"),
        ("a%0D%0AX:%20y", "characters"),
        ("a\tb", "characters"),
        ("%C2%80", "characters"),
        ("%EF%BF%BF", "characters"),
    ],
)
def test_value_is_refused_when_it_is_no_text(header: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_value(header)


@given(TEXTS)
def test_value_is_decoded_as_what_was_encoded(text: str) -> None:
    encoded = encode_value(text)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert not {" ", '"'}.intersection(encoded)
    assert decode_value(encoded) == text


@given(st.text(st.characters(max_codepoint=255)))
def test_value_is_text_or_refused_whatever_it_is(header: str) -> None:
    with suppress(ValueError):
        assert text_problem(decode_value(header)) is None


def test_value_cannot_be_encoded_when_it_has_a_lone_surrogate() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode_value("\ud800")
