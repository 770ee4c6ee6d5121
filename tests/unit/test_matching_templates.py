"""The constants of a JSONPath are told from its text as its parser tells them."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from jsonpath2.path import Path

from pacifica.notifications.matching.template import split_template
from tests.unit.test_matching_compile import CORPUS, jsonpaths, unhurried
from tests.unit.test_matching_shapes import shaped


def with_constants(text: str) -> str:
    """Return a JSONPath that is put together again from what was split."""
    template, constants = split_template(text)
    written = [json.dumps(each, ensure_ascii=False).replace("\\\\", "\\") for each in constants]
    written = [{"Infinity": "1e999"}.get(each, each) for each in written]
    pairs = zip(written, template.parts[1:], strict=True)
    return template.parts[0] + "".join(constant + part for constant, part in pairs)


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        ("$.data", ()),
        ('$[?(@.a = "x")]', ("x",)),
        ('$[?(@.a="x" and @.b=1.5)]', ("x", 1.5)),
        ("$[?(@.a =\n1 or @.b = -1)]", (1, -1)),
        ("$[?(@.a = 1)][?(@.b != 2)]", (1, 2)),
        ("$[?(@.a < 1 and @.a <= 2 and @.a > 3 and @.a >= 4)]", (1, 2, 3, 4)),
        ("$[?(@ = true and @ = false and @ = null)]", (True, False, None)),
        ("$[?(@.a = 1e2)]", (100.0,)),
        ("$[?(@.a = 1)].b[1][0:2]", (1,)),
        ("$[?(@.a = 12345678901234567890)]", (12345678901234567890,)),
        ('$[?(@.a = "\\"")]', ('\\"',)),
        ('$[?(@.a = "\\u0061")]', ("\\u0061",)),
        ('$["= 1"][?(@["a = \\"b\\""] = "= 2")]', ("= 2",)),
        ("$[?(1 = @.a)]", ()),
        ("$[?(@.a = @.b)]", ()),
        ("$[?(@.a = [1, 2])]", ()),
        ('$[?(@.a = {"b": 1})]', ()),
        ("$[?(@.a = nulls)]", ()),
    ],
)
def test_split_returns_the_constants_on_the_right(text: str, constants: tuple[Any, ...]) -> None:
    found = split_template(text)[1]
    assert found == constants
    assert [type(each) for each in found] == [type(each) for each in constants]


def test_split_gives_one_template_when_only_constants_differ() -> None:
    assert (
        split_template('$[?(@.a = "x" and @.b > 1)]')[0]
        == split_template("$[?(@.a = 1.5 and @.b > null)]")[0]
    )


@pytest.mark.parametrize(
    "other", ["$[?(@.b = 1)]", "$[?(@.a != 1)]", "$[?(@.a= 1)]", "$[?(@.a = 1)].b", "$[?(@.a = 1"]
)
def test_split_gives_another_template_when_anything_else_differs(other: str) -> None:
    assert split_template("$[?(@.a = 1)]")[0] != split_template(other)[0]


def test_split_finds_no_constants_when_a_number_has_more_digits_than_python_takes() -> None:
    assert split_template(f"$[?(@.a = {'1' * 5000})]")[1] == ()


def assert_split_is_what_the_parser_finds(text: str) -> None:
    numbered = split_template(text)[0].numbered_text()
    assert str(Path.parse_str(with_constants(text))) == str(Path.parse_str(text))
    assert shape_of(Path.parse_str(numbered)) == shape_of(Path.parse_str(text))


def shape_of(path: Path) -> str:
    """Return a parsed path as text, without what stands on the right of its comparisons."""
    plain = r'(?:"(?:[^"\\]|\\.)*"|-?[0-9.e+]+|Infinity|true|false|null)'
    return re.sub(rf'( (?:=|!=|<=?|>=?) ){plain}|("(?:[^"\\]|\\.)*")', r"\1\2", str(path))


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["jsonpath"])
def test_split_is_what_the_parser_finds_in_the_corpus(case: dict[str, Any]) -> None:
    assert_split_is_what_the_parser_finds(case["jsonpath"])


@unhurried
@given(text=shaped() | jsonpaths)
def test_split_is_what_the_parser_finds_in_any_jsonpath(text: str) -> None:
    assert_split_is_what_the_parser_finds(text)
