"""Subscriptions: what a body may set, and what it changes."""

from base64 import b64encode
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.subscriptions import (
    changes_to,
    delivery_changes,
    new_subscription,
    require_extensions,
)
from pacifica.notifications.subscriptions.schemas import SUBSCRIPTION as SCHEMA

LONGEST = 4096
BODY = {"name": "n", "jsonpath": "data", "target_url": "http://h/"}
STORED = {
    "uuid": "11111111-1111-4111-8111-111111111111",
    "name": "n",
    "jsonpath": "$.data",
    "user": "alice",
    "disabled": "2020-01-01T00:00:00.000000",
    "error": "away",
    "target_url": "http://h/",
    "version": "v0.1",
    "extensions": {"a": {"b": 1}},
    "auth": {"type": "basic", "basic": {"username": "u", "password": "p"}},
    "created": "2020-01-01T00:00:00.000000",
    "updated": "2020-01-01T00:00:00.000000",
    "deleted": None,
}


def problems(body: Any, *, stored: dict[str, Any] | None = None) -> list[str]:
    def judge() -> object:
        if stored is None:
            return new_subscription(body, "alice", LONGEST)
        return changes_to(stored, body, LONGEST)

    with pytest.raises(InvalidInput) as refusal:
        judge()
    return [field for field, _ in refusal.value.problems]


def test_new_subscription_has_empty_extensions_and_auth_when_body_has_none() -> None:
    columns = new_subscription(BODY, "alice", LONGEST)
    assert columns == {**BODY, "user": "alice", "extensions": {}, "auth": {}}


def test_body_is_not_changed() -> None:
    body = {"auth": None, "disabled": "2020-01-02T00:00:00"}
    changes_to(STORED, body, LONGEST)
    assert body == {"auth": None, "disabled": "2020-01-02T00:00:00"}


@given(st.sets(st.sampled_from(sorted(STORED))))
def test_nothing_changes_when_body_repeats_what_is_stored(names: set[str]) -> None:
    assert changes_to(STORED, {name: STORED[name] for name in names}, LONGEST) == {}


@pytest.mark.parametrize("name", sorted(set(STORED) - set(SCHEMA["properties"])))
def test_field_cannot_be_set_when_it_is_the_services_own(name: str) -> None:
    assert problems({name: "other"}, stored=STORED) == [name]
    assert problems({**BODY, name: "other"}) == [name]


@pytest.mark.parametrize("value", [True, 1.0, "1", [1]], ids=str)
def test_value_differs_from_stored_one_when_it_is_other_json(value: Any) -> None:
    stored = {**STORED, "extensions": {"a": 1}, "version": 1}
    assert changes_to(stored, {"extensions": {"a": value}}, LONGEST)["extensions"] == {"a": value}
    assert problems({"version": value}, stored=stored) == ["version"]


def test_value_is_the_stored_one_when_its_names_are_in_another_order() -> None:
    stored = {**STORED, "extensions": {"a": 1, "b": 2}}
    assert changes_to(stored, {"extensions": {"b": 2, "a": 1}}, LONGEST) == {}


def test_stored_value_may_be_repeated_when_today_it_would_be_refused() -> None:
    stored = {**STORED, "target_url": "nonsense", "name": "", "auth": {"type": "other"}}
    assert changes_to(stored, {**stored, "error": None}, LONGEST) == {"error": None}
    assert problems({"target_url": "nonsense too"}, stored=stored) == ["target_url"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2018-08-02T13:53:05.838827", datetime(2018, 8, 2, 13, 53, 5, 838827)),
        ("2018-08-02T13:53:05Z", datetime(2018, 8, 2, 13, 53, 5)),
        ("2018-08-02T13:53:05+09:30", datetime(2018, 8, 2, 4, 23, 5)),
        ("2018-08-02", datetime(2018, 8, 2)),
    ],
)
def test_disabled_is_a_naive_moment_in_utc(text: str, moment: datetime) -> None:
    assert changes_to(STORED, {"disabled": text}, LONGEST) == {"disabled": moment}


@pytest.mark.parametrize(
    "text", ["", "x", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2018-02-30"]
)
def test_disabled_is_refused_when_it_is_no_moment(text: str) -> None:
    assert problems({"disabled": text}, stored=STORED) == ["disabled"]


def test_jsonpath_is_refused_when_it_is_longer_than_the_limit() -> None:
    assert problems({**BODY, "jsonpath": "$" + ".a" * LONGEST}) == ["jsonpath"]


@pytest.mark.parametrize("body", [None, [], "x", 1, [BODY]], ids=str)
def test_body_is_refused_when_it_is_no_object(body: Any) -> None:
    assert problems(body) == ["body"]
    assert problems(body, stored=STORED) == ["body"]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x00", "\x7f", "\x85", "\ud800"], ids=ascii)
@pytest.mark.parametrize(
    "field",
    ["name", "jsonpath", "basic.username", "basic.password", "header.type", "header.credentials"],
)
def test_text_is_refused_when_it_ends_with_control_character(field: str, end: str) -> None:
    kind, _, part = field.partition(".")
    if not part:
        assert set(problems({**BODY, kind: f"data{end}"})) == {kind}
        return
    block = (
        {"username": "u", "password": "p"} if kind == "basic" else {"type": "t", "credentials": "c"}
    )
    auth = {"type": kind, kind: {**block, part: f"x{end}"}}
    assert [name.partition(".")[0] for name in problems({**BODY, "auth": auth})] == ["auth"]


def test_secrets_are_not_repeated_when_they_are_refused() -> None:
    auth = {"type": "basic", "basic": {"username": "bob\n", "password": "sesame\n"}}
    with pytest.raises(InvalidInput) as refusal:
        new_subscription({**BODY, "auth": auth}, "alice", LONGEST)
    assert "sesame" not in str(refusal.value)
    assert "bob" not in str(refusal.value)


def secret(length: int = 24, byte: bytes = b"x") -> str:
    return f"whsec_{b64encode(byte * length).decode()}"


def signing(*secrets: Any) -> dict[str, Any]:
    return {"type": "signature", "signature": {"secrets": list(secrets)}}


@pytest.mark.parametrize("length", range(24, 65))
def test_auth_may_be_secrets_of_24_to_64_bytes_that_sign(length: int) -> None:
    auth = signing(secret(length), secret(24, b"y"))
    assert new_subscription({**BODY, "auth": auth}, "alice", LONGEST)["auth"] == auth


@pytest.mark.parametrize(
    ("auth", "field"),
    [
        ({"type": "signature"}, "auth.signature"),
        ({"signature": {"secrets": [secret()]}}, "auth"),
        ({"type": "signature", "signature": None}, "auth.signature"),
        ({"type": "signature", "signature": {}}, "auth.signature.secrets"),
        ({"type": "signature", "signature": {"secrets": secret()}}, "auth.signature.secrets"),
        ({"type": "signature", "signature": {"secrets": [secret()], "x": 1}}, "auth.signature"),
        (signing(), "auth.signature.secrets"),
        (signing(secret(), secret()), "auth.signature.secrets"),
        (signing(*(secret(24, bytes([each])) for each in range(5))), "auth.signature.secrets"),
        *(
            (signing(secret(), each), "auth.signature.secrets.1")
            for each in (
                *(None, 1, "", secret()[6:], secret()[:-1]),
                *(secret(length) for length in (*range(24), *range(65, 70), 96)),
                *(f"{secret()}=", f"{secret(25)[:-1]}", f"{secret()}\n", f" {secret()}"),
                *(secret().upper(), f"whsec_{'-' * 32}", f"whsec_{'é' * 32}"),
            )
        ),
    ],
    ids=ascii,
)
def test_auth_that_signs_is_refused_when_it_is_not_one_to_four_secrets(
    auth: Any, field: str
) -> None:
    assert problems({**BODY, "auth": auth}) == [field]


def test_signing_secret_is_not_repeated_when_it_is_refused() -> None:
    with pytest.raises(InvalidInput) as refusal:
        new_subscription({**BODY, "auth": signing("whsec_sesame")}, "alice", LONGEST)
    assert str(refusal.value) == (
        "auth.signature.secrets.0: must be whsec_ and the Base64 of 24 to 64 bytes"
    )


@pytest.mark.parametrize(
    ("body", "columns"),
    [
        ({}, {}),
        ({"specversion": None}, {"specversion": ""}),
        ({"specversion": "1.0"}, {"specversion": "1.0"}),
        ({"specversion": "0.1", "mode": "binary"}, {"specversion": "0.1", "mode": "binary"}),
        ({"mode": "structured"}, {"mode": "structured"}),
    ],
)
def test_wish_is_the_version_and_the_mode_that_a_body_names(
    body: dict[str, Any], columns: dict[str, str]
) -> None:
    assert delivery_changes(body) == columns


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (None, ["body"]),
        ([], ["body"]),
        ("x", ["body"]),
        ({"specversion": "0.2"}, ["specversion"]),
        ({"specversion": ""}, ["specversion"]),
        ({"specversion": 1.0}, ["specversion"]),
        ({"specversion": True, "mode": "batch"}, ["specversion", "mode"]),
        ({"mode": None}, ["mode"]),
        ({"mode": "BINARY"}, ["mode"]),
        ({"uuid": 1, "mode": "binary"}, ["uuid"]),
        ({"x" * 99: 1, "\n": 1}, ["\\n", "x" * 64]),
    ],
    ids=ascii,
)
def test_wish_is_refused_when_it_names_anything_else(body: Any, fields: list[str]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        delivery_changes(body)
    assert [field for field, _ in refusal.value.problems] == fields


@pytest.mark.parametrize("specversion", ["", "0.1"])
def test_any_extensions_are_allowed_when_the_version_is_0_1_or_each_events_own(
    specversion: str,
) -> None:
    require_extensions({"Any-Name": {"deep": [1.5]}, "id": None}, specversion)


def test_extensions_are_refused_each_by_name_when_a_version_does_not_allow_them() -> None:
    extensions = {"fine": 1, "Any-Name": 1, "id": "x", "deep": {}, "é" * 99: 1}
    with pytest.raises(InvalidInput) as refusal:
        require_extensions(extensions, "1.0")
    assert [field for field, _ in refusal.value.problems] == [
        "extensions.Any-Name",
        "extensions.id",
        "extensions.deep",
        f"extensions.{ascii('é')[1:-1] * 64}",
    ]
    assert all(reason.endswith("(CloudEvents 1.0)") for _, reason in refusal.value.problems)
