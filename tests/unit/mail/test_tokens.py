"""What the links in mails hold."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.mail import is_signed, named_in, new_token, unsubscribe_token

AGREEMENT = UUID(int=7)
TOKEN = unsubscribe_token(AGREEMENT, "secret", 1_800_000_000)


def test_token_names_its_agreement_and_its_end_and_is_signed() -> None:
    assert named_in(TOKEN) == (AGREEMENT, 1_800_000_000)
    assert is_signed(TOKEN, "secret")
    assert not is_signed(TOKEN, "another secret")
    assert not is_signed(TOKEN, "")


@pytest.mark.parametrize("place", range(0, 74, 3))
def test_token_with_another_character_is_not_signed(place: int) -> None:
    changed = "A" if TOKEN[place] != "A" else "B"
    assert not is_signed(TOKEN[:place] + changed + TOKEN[place + 1 :], "secret")


@given(st.text(max_size=200))
def test_any_other_text_is_no_token(text: str) -> None:
    named_in(text)
    assert not is_signed(text, "secret")


def test_tokens_of_first_mails_are_long_and_differ() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(each) >= 43 for each in tokens)
