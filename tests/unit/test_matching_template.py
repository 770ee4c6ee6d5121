"""A JSONPath is divided into template and constants as the parser would divide it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from jsonpath2.path import Path

from pacifica.notifications.matching.template import split_template
from tests.support.jsonpaths import CORPUS, jsonpaths, no_deadline
from tests.unit.test_matching_shape import shaped


def rejoined(text: str) -> str:
    """Divide a JSONPath into template and constants, and join them again."""
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


def test_templates_are_equal_when_only_constants_differ() -> None:
    assert (
        split_template('$[?(@.a = "x" and @.b > 1)]')[0]
        == split_template("$[?(@.a = 1.5 and @.b > null)]")[0]
    )


@pytest.mark.parametrize(
    "other", ["$[?(@.b = 1)]", "$[?(@.a != 1)]", "$[?(@.a= 1)]", "$[?(@.a = 1)].b", "$[?(@.a = 1"]
)
def test_templates_differ_when_anything_else_differs(other: str) -> None:
    assert split_template("$[?(@.a = 1)]")[0] != split_template(other)[0]


def test_split_finds_no_constants_when_a_number_has_too_many_digits_for_python() -> None:
    assert split_template(f"$[?(@.a = {'1' * 5000})]")[1] == ()


def assert_split_agrees_with_the_parser(text: str) -> None:
    numbered = split_template(text)[0].numbered_text()
    assert str(Path.parse_str(rejoined(text))) == str(Path.parse_str(text))
    assert without_constants(Path.parse_str(numbered)) == without_constants(Path.parse_str(text))


def without_constants(path: Path) -> str:
    """Return a parsed path as text, without the right sides of its comparisons."""
    plain = r'(?:"(?:[^"\\]|\\.)*"|-?[0-9.e+]+|Infinity|true|false|null)'
    return re.sub(rf'( (?:=|!=|<=?|>=?) ){plain}|("(?:[^"\\]|\\.)*")', r"\1\2", str(path))


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["jsonpath"])
def test_split_agrees_with_the_parser_on_the_corpus(case: dict[str, Any]) -> None:
    assert_split_agrees_with_the_parser(case["jsonpath"])


@no_deadline
@given(text=shaped() | jsonpaths)
def test_split_agrees_with_the_parser_on_any_jsonpath(text: str) -> None:
    assert_split_agrees_with_the_parser(text)
