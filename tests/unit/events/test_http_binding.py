"""Content types and header values: what they declare, and how attributes are encoded in them."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.events.attributes import is_media_type, text_problem
from pacifica.notifications.events.http_binding import (
    charset,
    decode_header_value,
    encode_header_value,
    is_json_type,
    media_type,
    text_codec,
)

TEXTS = st.text().filter(lambda text: text_problem(text) is None)


def test_header_value_is_encoded_as_in_the_example_of_the_specification() -> None:
    assert encode_header_value("Euro € 😀") == "Euro%20%E2%82%AC%20%F0%9F%98%80"


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
def test_header_value_is_the_encoded_canonical_string(value: Any, encoded: str) -> None:
    assert encode_header_value(value) == encoded


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
def test_header_value_is_decoded(header: str, text: str) -> None:
    assert decode_header_value(header) == text


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
def test_header_value_is_refused_when_it_does_not_decode_to_allowed_text(
    header: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_header_value(header)


@given(TEXTS)
def test_header_value_decodes_to_the_text_that_was_encoded(text: str) -> None:
    encoded = encode_header_value(text)
    assert encoded.isascii()
    assert encoded.isprintable()
    assert not {" ", '"'}.intersection(encoded)
    assert decode_header_value(encoded) == text


@given(st.text(st.characters(max_codepoint=255)))
def test_header_value_is_allowed_text_or_refused_whatever_it_holds(header: str) -> None:
    with suppress(ValueError):
        assert text_problem(decode_header_value(header)) is None


def test_header_value_cannot_be_encoded_when_it_has_a_lone_surrogate() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        encode_header_value("\ud800")


# Content types


@pytest.mark.parametrize(
    "text",
    ["a/b", "text/plain; charset=utf-8", "application/vnd.x+json;a=b", "a/b ;", 'a/b; c="d;e"'],
)
def test_media_type_is_valid_when_it_has_a_type_and_a_subtype(text: str) -> None:
    assert is_media_type(text)


@pytest.mark.parametrize(
    "text", ["", "a", "a/", "/b", "a/b/c", "a b/c", "a/b\n", "a/é", "a/b\0a/b"]
)
def test_media_type_is_invalid_when_it_is_malformed(text: str) -> None:
    assert not is_media_type(text)


@pytest.mark.parametrize(
    "text",
    ["application/json", "text/JSON", "application/ld+json", "a/b+JSON ; charset=utf-8", "x/json;"],
)
def test_content_type_declares_json_when_its_subtype_is_or_ends_with_json(text: str) -> None:
    assert is_json_type(text)


@pytest.mark.parametrize(
    "text", ["", "json", "application/jsonx", "application/xml; a=b/json", "json/xml", "a/json+xml"]
)
def test_content_type_does_not_declare_json_when_it_has_another_subtype(text: str) -> None:
    assert not is_json_type(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text/plain", ""),
        ("text/plain; charset=UTF-8", "utf-8"),
        ('text/plain;a="; charset=x"; Charset="us-ascii"', "us-ascii"),
        ("text/plain; charset", ""),
        ("text/plain; charset = latin-1 ;x=y", "latin-1"),
    ],
)
def test_charset_is_the_value_of_the_parameter(text: str, expected: str) -> None:
    assert charset(text) == expected


def test_media_type_is_what_comes_before_the_parameters() -> None:
    assert media_type(" Text/Plain ; charset=x") == "text/plain"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text/plain", "utf-8"),
        ("text/csv; charset=latin-1", "iso8859-1"),
        ("application/xml", "utf-8"),
        ("image/svg+xml; charset=windows-1252", "cp1252"),
        ("text/plain; charset=utf8", "utf-8"),
    ],
)
def test_text_has_a_codec_when_its_charset_is_known(text: str, expected: str) -> None:
    assert text_codec(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "application/octet-stream", "image/png", "application/json"),
        *(f"text/plain; charset={name}" for name in ("x-none", "hex", "rot13", "idna", "punycode")),
        *(f"text/plain; charset={name}" for name in ("unicode_escape", "undefined", "a" * 5000)),
        "text/plain; charset=\0",
    ],
)
def test_content_type_has_no_codec_when_it_is_not_text_or_its_charset_is_unknown(text: str) -> None:
    assert text_codec(text) is None
