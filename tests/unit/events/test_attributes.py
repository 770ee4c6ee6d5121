"""Attributes: their names, their types, and what is said of those that break a rule."""

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.events.attributes import (
    attribute_problems,
    base64_bytes,
    context_attributes,
    extension_problem,
    is_timestamp,
    quoted,
    text_problem,
    value_problem,
)

EVENT = {"specversion": "1.0", "id": "i", "source": "s", "type": "t"}
BOTH = pytest.mark.parametrize("version", ["0.3", "1.0"])


def problems(version: str, **changed: Any) -> list[tuple[str, str]]:
    event = {**EVENT, "specversion": version, **changed}
    return list(attribute_problems(event, version))


@BOTH
def test_event_has_no_problems_when_it_has_what_is_required(version: str) -> None:
    assert problems(version) == []


@BOTH
@pytest.mark.parametrize("name", ["id", "source", "type"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "is required"),
        ("", "must not be empty"),
        (5, "must be a string"),
        (["x"], "must be a string"),
        ("a\nb", "has characters that are not allowed"),
    ],
)
def test_required_attribute_is_named_when_it_is_wrong(
    version: str, name: str, value: Any, reason: str
) -> None:
    assert problems(version, **{name: value}) == [(name, reason)]


@BOTH
def test_required_attributes_are_all_named_when_they_are_absent(version: str) -> None:
    event = {"specversion": version}
    absent = [name for name, _ in attribute_problems(event, version)]
    assert absent == ["id", "source", "type"]


@pytest.mark.parametrize(
    ("version", "name", "value"),
    [
        *((version, "subject", value) for version in ("0.3", "1.0") for value in ("", 1, [])),
        *(("1.0", "dataschema", value) for value in ("", 1)),
        *(("0.3", "schemaurl", value) for value in ("", 1)),
        *(("1.0", "datacontenttype", value) for value in ("", 1, "json", "a/b\r\nX: y", "a/é")),
        *(("0.3", "datacontentencoding", value) for value in ("", 1, "gzip", "quoted-printable")),
        *(("1.0", "time", value) for value in ("", 1, "now", "2018-04-05T17:31:00")),
    ],
)
def test_optional_attribute_is_named_when_it_is_wrong(version: str, name: str, value: Any) -> None:
    assert [field for field, _ in problems(version, **{name: value})] == [name]


@BOTH
def test_optional_attributes_may_be_null(version: str) -> None:
    assert problems(version, **dict.fromkeys(context_attributes(version) - EVENT.keys())) == []


@pytest.mark.parametrize("value", ["base64", "Base64", "BASE64"])
def test_encoding_is_base64_in_any_case(value: str) -> None:
    assert problems("0.3", datacontentencoding=value) == []


@pytest.mark.parametrize("value", ["", "x", "é 😀", True, False, 0, -(2**31), 2**31 - 1])
def test_extension_of_1_0_is_string_boolean_or_integer_of_32_bits(value: Any) -> None:
    assert problems("1.0", own=value) == []
    assert value_problem(value, "1.0") is None


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.0, 1e3, [], {}, "\0", "\x9f", "\ud800"])
def test_extension_of_1_0_is_named_when_it_is_of_another_type(value: Any) -> None:
    ((field, reason),) = problems("1.0", own=value)
    assert (field, reason) == ("own", value_problem(value, "1.0"))


@pytest.mark.parametrize("value", [2**31, 1.5, [1], {"a": {"b": None}}, True])
def test_extension_of_0_3_is_anything(value: Any) -> None:
    assert problems("0.3", own=value) == []


@BOTH
@pytest.mark.parametrize("name", ["Own", "own-name", "own_name", "é", "", "a b", "own\n", "ownⅷ"])
def test_name_is_quoted_when_it_is_not_allowed(version: str, name: str) -> None:
    ((field, reason),) = problems(version, **{name: "x"})
    assert field == quoted(name)
    assert "lower-case" in reason


def test_name_may_begin_with_a_digit_in_1_0_only() -> None:
    assert problems("1.0", **{"0x": 1}) == []
    assert [field for field, _ in problems("0.3", **{"0x": 1})] == ["0x"]


def test_name_is_quoted_in_ascii_and_in_part_when_it_is_long() -> None:
    ((field, _),) = problems("1.0", **{"é" * 1000: 1})
    assert field == r"\xe9" * 64


def test_data_base64_is_no_name_in_0_3() -> None:
    assert [field for field, _ in problems("0.3", data_base64="AA==")] == ["data_base64"]


@BOTH
def test_extension_must_not_be_named_as_what_the_specification_names(version: str) -> None:
    for name in (*context_attributes(version), "data", "data_base64"):
        assert extension_problem(name, "x", version) is not None
    assert extension_problem("own", "x", version) is None
    assert extension_problem("Own", "x", version) is not None


@pytest.mark.parametrize("code", [0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x10FFFF, 0x7F, 0x80])
def test_text_must_not_have_what_is_no_character(code: int) -> None:
    assert text_problem(f"a{chr(code)}b") == "has characters that are not allowed"


@pytest.mark.parametrize("code", [0x20, 0x7E, 0xA0, 0xFDCF, 0xFDF0, 0xFFFD, 0x10000, 0x10FFFD])
def test_text_may_have_any_other_character(code: int) -> None:
    assert text_problem(f"a{chr(code)}b") is None


@pytest.mark.parametrize(
    "text",
    [
        *("2018-04-05T17:31:00Z", "1985-04-12T23:20:50.52Z", "1996-12-19T16:39:57-08:00"),
        *("1990-12-31T23:59:60Z", "1990-12-31T15:59:60-08:00", "1937-01-01T12:00:27.87+00:20"),
        *("2020-02-29t00:00:00z", "2000-02-29T00:00:00+23:59", "2018-04-05T17:31:00.123456789Z"),
    ],
)
def test_time_is_one_when_it_is_as_rfc_3339_has_it(text: str) -> None:
    assert is_timestamp(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2018-04-05T17:31:00",
            "2018-04-05 17:31:00Z",
            "2018-04-05",
            "17:31:00Z",
            "20180405T173100Z",
        ),
        *(
            "2018-13-05T17:31:00Z",
            "2018-00-05T17:31:00Z",
            "2019-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
        ),
        *(
            "2018-04-31T17:31:00Z",
            "2018-04-05T24:00:00Z",
            "2018-04-05T17:60:00Z",
            "2018-04-05T17:31:61Z",
        ),
        *("2018-04-05T17:31:00+24:00", "2018-04-05T17:31:00+00:60", "2018-04-05T17:31:00+0000"),
        *(
            "2018-04-05T17:31Z",
            "2018-04-05T17:31:00.Z",
            "2018-04-05T17:31:00Z\n",
            "\uff12018-04-05T17:31:00Z",
        ),
        *(" 2018-04-05T17:31:00Z", "2018-4-5T17:31:00Z", "12018-04-05T17:31:00Z", ""),
    ],
)
def test_time_is_none_when_it_is_another_form_or_no_moment(text: str) -> None:
    assert not is_timestamp(text)


@given(st.datetimes(timezones=st.timezones()))
def test_time_is_one_whenever_python_writes_it_with_an_offset_of_minutes(moment: Any) -> None:
    text = moment.isoformat()
    whole_minutes = moment.utcoffset().seconds % 60 == 0 and not moment.utcoffset().microseconds
    assert is_timestamp(text) == whole_minutes


@given(st.binary())
def test_base64_is_read_as_what_it_encodes(data: bytes) -> None:
    assert base64_bytes(b64encode(data).decode()) == data


@pytest.mark.parametrize(
    "text", ["A", "AA", "AAA", "A===", "AA==AA", "AA-_", "A A=", "é", "AA==\n"]
)
def test_base64_is_refused_when_it_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be Base64"):
        base64_bytes(text)
