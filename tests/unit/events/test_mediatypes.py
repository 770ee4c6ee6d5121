"""Content types: which are well-formed, which declare JSON, and what text they declare."""

import pytest

from pacifica.notifications.events.mediatypes import (
    charset,
    is_json_type,
    is_media_type,
    media_type,
    text_codec,
)


@pytest.mark.parametrize(
    "text",
    ["a/b", "text/plain; charset=utf-8", "application/vnd.x+json;a=b", "a/b ;", 'a/b; c="d;e"'],
)
def test_media_type_is_one_when_it_is_a_type_and_a_subtype(text: str) -> None:
    assert is_media_type(text)


@pytest.mark.parametrize(
    "text", ["", "a", "a/", "/b", "a/b/c", "a b/c", "a/b\n", "a/é", "a/b\0a/b"]
)
def test_media_type_is_none_when_it_is_malformed(text: str) -> None:
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
def test_content_type_declares_no_json_when_its_subtype_is_another(text: str) -> None:
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
def test_charset_is_that_of_the_parameter(text: str, expected: str) -> None:
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
def test_text_has_no_codec_when_it_is_no_text_or_its_charset_is_not_known(text: str) -> None:
    assert text_codec(text) is None
