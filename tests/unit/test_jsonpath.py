"""The public functions `parse` and `find`."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from jsonpath2 import parser as jsonpath2_parser
from jsonpath2.path import Path

from pacifica.notifications.errors import BudgetExceeded, ExpressionError
from pacifica.notifications.jsonpath import MAX_LENGTH, Expression, find, parse
from pacifica.notifications.matching.advice import FUNCTIONS, advice, unknown_function


def error_of(text: Any, **limits: int) -> str:
    with pytest.raises(ExpressionError) as caught:
        parse(text, **limits)
    return str(caught.value)


def test_parse_keeps_the_text_as_given() -> None:
    assert parse(" data [0] ").text == " data [0] "


def test_parse_returns_equal_expressions_when_the_text_is_equal() -> None:
    assert parse("$.data") == parse("$.data") != parse("data")


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("$", None),
        ("$.data", {"data": 1}),
        (" \t\r\n$.data\n", {"data": 1}),
        ("data", {"data": 1}),
        ("  data", {"data": 1}),
        (".data", {"data": 1}),
        ("data[0]", {"data": [1]}),
        ("data[0].a", {"data": [{"a": 1}]}),
        ("data[*][?(@.a = 1)]", {"data": [{"a": 1}]}),
        ("[0]", [1]),
        (" [0]", [1]),
        ('["a"]', {"a": 1}),
        ('[?(@.a = "b")]', {"a": "b"}),
        ("*", {"a": 1}),
        ("*.a", [{"a": 1}]),
        ("..a", [[{"a": 1}]]),
        ("..*", [1]),
        ("length()", "text"),
    ],
)
def test_find_starts_at_the_root_when_the_expression_is_relative(text: str, data: Any) -> None:
    assert find(parse(text), data)


@pytest.mark.parametrize("text", ["data", ".data", "data[0]", "[0]", '["data"]', "*", "..data"])
def test_find_is_false_when_the_member_does_not_exist(text: str) -> None:
    assert not find(parse(text), {})


def test_find_ignores_nested_members_when_the_expression_is_relative() -> None:
    assert not find(parse("data"), {"inner": {"data": 1}})


def test_find_does_not_change_the_data() -> None:
    data = {"a": [{"b": 1}, "text"]}
    find(parse("$..*[entries()][values()][*][?(@ = $..*)].none"), data)
    assert data == {"a": [{"b": 1}, "text"]}


def test_find_raises_when_jsonpath2_does() -> None:
    with pytest.raises(ExpressionError, match="step of a slice is 0"):
        find(parse("data[::0]"), {"data": []})


def test_find_raises_when_the_budget_is_exceeded() -> None:
    with pytest.raises(BudgetExceeded, match="more than 10 steps"):
        find(parse("$[*].a"), [1] * 11, budget=10)


def test_find_returns_a_result_when_the_budget_is_exactly_sufficient() -> None:
    assert not find(parse("$[*].a"), [1] * 10, budget=21)


@pytest.mark.parametrize("text", [None, 1, b"$.data", ["$"], Expression])
def test_parse_refuses_what_is_not_a_string(text: Any) -> None:
    assert "is a string, not" in error_of(text)


@pytest.mark.parametrize("text", ["", " ", "\n\t\r "])
def test_parse_refuses_an_empty_expression(text: str) -> None:
    assert error_of(text) == "the JSONPath is empty"


@pytest.mark.parametrize("text", ["@", "@.data", " @[0]"])
def test_parse_refuses_an_expression_that_starts_at_the_current_value(text: str) -> None:
    assert "`@`" in error_of(text)


def test_parse_accepts_as_many_characters_as_the_default_limit() -> None:
    assert find(parse("a" * MAX_LENGTH), {"a" * MAX_LENGTH: 1})


def test_parse_refuses_more_characters_than_the_default_limit() -> None:
    assert error_of("a" * 5_000_000) == "a JSONPath has at most 4096 characters, not 5000000"


def test_parse_refuses_more_characters_than_the_given_limit() -> None:
    assert error_of("$.data", max_length=5) == "a JSONPath has at most 5 characters, not 6"


@pytest.mark.parametrize(
    "text",
    [
        "$" + ".a" * 2000,
        "$[?(" + "(" * 1000 + "1" + ")" * 1000 + ")]",
        "$" + "[?(@" * 500 + ")]" * 500,
        "$" + "[@" * 1000 + "]" * 1000,
        "$[?(@ = " + "[" * 1500 + "]" * 1500 + ")]",
    ],
    ids=["segments", "parentheses", "filters", "brackets", "arrays"],
)
def test_parse_refuses_an_expression_that_is_nested_too_deep(text: str) -> None:
    assert error_of(text) == "the JSONPath is nested too deep"


def test_parse_still_works_after_an_expression_that_was_nested_too_deep() -> None:
    error_of("$" + ".a" * 2000)
    assert find(parse('$.a[?(@.b = "c")].b'), {"a": {"b": "c"}})


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("$.data[", 8),
        ("data[", 6),
        ("$.data%", 7),
        ("data%", 5),
        ("[0", 3),
        ("$data", 2),
        ("$[?(@.a == 1)]", 10),
        ("$.a\n.b\n.c]", 10),
        ("'data'", 1),
        ('"data"', 1),
        ("true", 1),
    ],
)
def test_parse_error_gives_the_position_in_the_given_text(text: str, position: int) -> None:
    assert error_of(text).startswith(f"at character {position}: ")


@pytest.mark.parametrize("text", ["$[1.5]", "$[1:2.5]", "$[1::1e3]"])
def test_parse_error_asks_for_whole_numbers_when_an_index_has_a_fraction(text: str) -> None:
    assert error_of(text).endswith("an index and the parts of a slice are whole numbers")


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("$.data[*][?(@.a == 1)]", 18, "write = for equality"),
        ("$.data[*][?(@.a === 1)]", 18, "write = for equality"),
        ("data[*][?(@.a <> 1)]", 16, "write !="),
        ("$['data']", 3, "double quotes"),
        ("$.data[*][?(@.a = 'b')]", 19, "double quotes"),
        ("$.data[?@.a = 1]", 8, "[*][?(…)] to filter the elements of an array"),
        ("$.data?(@.a = 1)", 7, "[*][?(…)] to filter the elements of an array"),
        ("$.data[]", 8, "[*] for every element"),
        ("$.data*", 7, "[*] for every element"),
        ("$.data.[*]", 7, "no dot before a bracket"),
        ('$.data[*][?(@.a =~ "b")]', 18, "there are no regular expressions"),
        ("$.data[*][?(length(@.a) > 1)]", 13, 'as in @["name"][length()]'),
        ("$.data[*][?(@.a && @.b)]", 17, "write: and"),
        ("$.data[*][?(@.a || @.b)]", 17, "write: or"),
        ("$.data[*][?(!@.a)]", 13, "write: not"),
        ("$.data[*][?(@.a AND @.b)]", 17, "small letters"),
        ("$.data[*][?(@.a = None)]", 19, "write: null"),
        ("$.data[*][?(@.a in [1])]", 17, "one comparison for each value"),
        ("$.data[*][?(@.a = b)]", 19, "double quotes around a text"),
        ("$.data[*][?(a = 1)]", 13, "@.name for a member"),
        ("$.data[a]", 8, "double quotes"),
        ("$.a-b", 4, '["a-b"]'),
        ("data[?(@.a = 1)", 16, "ends too early"),
        ('$["data', 3, "no double quote at its end"),
        ("$.data[*] and $.a", 11, "complete before this"),
        ("$.data%", 7, "this character has no meaning here"),
        ("$[median()]", 3, "there is no function median(); the functions are charAt(), "),
        ('$["a(", first()]', 9, "there is no function first()"),
        ('$["\'=="][?(@["a"] == 1)]', 20, "write = for equality"),
    ],
)
def test_parse_error_says_what_to_write_instead(text: str, position: int, said: str) -> None:
    error = error_of(text)
    assert error.startswith(f"at character {position}: ")
    assert said in error


def test_advice_names_the_functions_of_jsonpath2() -> None:
    assert set(FUNCTIONS) == set(jsonpath2_parser.CALLABLE_SUBSCRIPTS_)


@pytest.mark.timing
@pytest.mark.parametrize("text", ["a " * 2048, "(" * 4096, "[ " * 2048, '$[".' * 1365, "a" * 4096])
def test_advice_takes_little_time(text: str) -> None:
    began = time.perf_counter()
    advice(text, len(text), is_complete=False)
    unknown_function(text)
    assert time.perf_counter() - began < 0.1


def test_parse_error_keeps_its_cause() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("$[")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("text", ["$[\n\n?", "$\x00", "$." + "é" * 3000, '$["\n"]', "$.a\r\n%"])
def test_parse_error_is_one_short_line(text: str) -> None:
    message = error_of(text)
    assert len(message.splitlines()) == 1
    assert len(message) < 250


def test_parse_prints_nothing_when_it_fails(capfd: pytest.CaptureFixture[str]) -> None:
    error_of("$[")
    error_of("$.a%")
    assert capfd.readouterr() == ("", "")


def test_parse_does_not_change_how_jsonpath2_reports_errors(
    capfd: pytest.CaptureFixture[str],
) -> None:
    error_of("$[")
    with pytest.raises(ValueError, match="line 1:2"):
        Path.parse_str("$[")
    assert capfd.readouterr().err.startswith("line 1:2")


def test_parse_has_the_same_results_when_many_threads_parse() -> None:
    texts = [
        f'$.a[*][?(@.b = {number} or not (@.c < "x{number}"))][{number}:, "k{number}"]'
        for number in range(40)
    ] + ["$[", "a..", "$.a[?(@.b ="] * 5

    def outcome(text: str) -> bool | str:
        try:
            return find(parse(text), {"a": [{"b": 7, "k7": 1}, {"b": 8, "k8": 1}]})
        except ExpressionError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(outcome, texts)) == [outcome(text) for text in texts]
