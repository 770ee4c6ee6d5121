"""Masks in place of secrets: what owners read, and what a mask means when it is sent back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.errors import InvalidInput
from pacifica.notifications.subscriptions.masking import MASK, masked, unmasked

BASIC = {"type": "basic", "basic": {"username": "bob", "password": "sesame"}}
HEADER = {"type": "header", "header": {"type": "Bearer", "credentials": "sesame"}}
SIGNATURE = {"type": "signature", "signature": {"secrets": ["whsec_a", "whsec_b"]}}
MASKED = {
    "basic": {"type": "basic", "basic": {"username": "bob", "password": MASK}},
    "header": {"type": "header", "header": {"type": "Bearer", "credentials": MASK}},
    "signature": {"type": "signature", "signature": {"secrets": [MASK, MASK]}},
}
auths = pytest.mark.parametrize("auth", [BASIC, HEADER, SIGNATURE], ids=lambda auth: auth["type"])


@auths
def test_masked_hides_the_secrets_and_nothing_else(auth: dict[str, Any]) -> None:
    shown = masked({"name": "n", "auth": auth})
    assert shown == {"name": "n", "auth": MASKED[auth["type"]]}
    assert masked({"auth": {}}) == {"auth": {}}
    broken = {"type": "basic", "basic": "sesame", "header": {}, "signature": None}
    assert masked({"auth": broken}) == {"auth": {**broken, "basic": MASK}}


@auths
def test_unmasked_is_the_stored_auth_when_a_masked_body_is_sent_back(auth: dict[str, Any]) -> None:
    stored = {"name": "n", "auth": auth}
    body = {**masked(stored), "name": "changed"}
    assert unmasked(body, stored) == {"name": "changed", "auth": auth}


@auths
def test_unmasked_is_the_body_when_it_has_no_masks(auth: dict[str, Any]) -> None:
    for body in ({"auth": auth}, {"auth": {}}, {"auth": None}, {"name": MASK}, {}):
        assert unmasked(body, {"auth": BASIC}) == body


@pytest.mark.parametrize(
    ("auth", "fields"),
    [
        (
            {"type": "basic", "basic": {"username": "eve", "password": MASK}},
            {"auth.basic.password": "is masked; give the password again"},
        ),
        (
            {"type": "header", "header": {"type": "Token", "credentials": MASK}},
            {"auth.header.credentials": "is masked; give the credentials again"},
        ),
        (
            {"type": "signature", "signature": {"secrets": [MASK, "whsec_new"]}},
            {"auth.signature.secrets.0": "is masked; give the secret again"},
        ),
        (
            {**MASKED["basic"], "type": "header", "header": HEADER["header"]},
            {"auth.basic.password": "is masked; give the password again"},
        ),
    ],
    ids=["other username", "other scheme", "other secrets", "other type"],
)
@pytest.mark.parametrize("stored", [{"auth": BASIC}, {"auth": {}}, {}], ids=str)
def test_unmasked_refuses_a_mask_when_auth_is_otherwise_changed(
    auth: dict[str, Any], fields: dict[str, str], stored: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        unmasked({"auth": auth}, stored)
    assert dict(refusal.value.problems) == fields


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(MASK) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["auth", "basic", "password", "header", "secrets", "signature"]), inner
        )
    ),
    max_leaves=10,
)


@given(body=json_values)
def test_unmasked_names_only_fields_of_auth_whatever_the_body_is(body: Any) -> None:
    problems: tuple[tuple[str, str], ...] = ()
    try:
        assert unmasked(body, {"auth": BASIC}) == body
    except InvalidInput as error:
        problems = error.problems
    assert all(field.startswith("auth.") for field, _ in problems)
