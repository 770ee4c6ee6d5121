"""What is stored of secrets: encrypted by the first key, and read with any."""

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from pacifica.notifications.errors import StoreUnavailable
from pacifica.notifications.orm.secrets import NOTHING, CorruptToken, Keyring, key_name

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(text=texts)
def test_text_comes_back_when_any_key_has_encrypted_it(text: str) -> None:
    stored = Keyring([OLD]).encrypted(text)
    assert Keyring([OLD]).decrypted(stored) == text
    assert Keyring([NEW, OLD]).decrypted(stored) == text


@given(text=texts)
def test_text_is_stored_as_it_is_when_there_is_no_key(text: str) -> None:
    assert Keyring([]).encrypted(text) == text


def test_stored_text_names_the_first_key_and_shows_nothing_of_the_text() -> None:
    keys = Keyring([NEW, OLD])
    stored = keys.encrypted('{"password": "sesame"}')
    assert stored.startswith(keys.prefix or "?")
    assert key_name(stored) == Keyring([NEW]).first != Keyring([OLD]).first
    assert "sesame" not in stored
    assert keys.encrypted('{"password": "sesame"}') != stored


@pytest.mark.parametrize("text", NOTHING)
def test_text_stays_plain_when_it_holds_no_secret(text: str) -> None:
    assert Keyring([NEW]).encrypted(text) == text


def test_plain_text_is_read_as_it_is_when_there_are_keys() -> None:
    assert Keyring([NEW]).decrypted('{"type": "basic"}') == '{"type": "basic"}'


@pytest.mark.parametrize("keys", [[], [OTHER]], ids=["none", "other"])
def test_reading_says_which_setting_when_the_key_is_absent(keys: list[str]) -> None:
    stored = Keyring([NEW]).encrypted("secret")
    with pytest.raises(StoreUnavailable, match=r"\[security\] key") as refusal:
        Keyring(keys).decrypted(stored)
    assert (key_name(stored) or "?") in str(refusal.value)
    assert not any(key in str(refusal.value) for key in (NEW, OTHER))


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda stored: stored[:-1],
        lambda stored: stored[:40] + ("A" if stored[40] != "A" else "B") + stored[41:],
        lambda stored: stored[: stored.rindex(":") + 1],
        lambda stored: stored.upper().replace("FERNET", "fernet"),
        lambda _: "fernet:",
        lambda _: "fernet:nonsense:gAAA",
    ],
)
def test_reading_tells_that_a_text_is_corrupt_and_writing_keeps_it(spoilt: object) -> None:
    assert callable(spoilt)
    keys = Keyring([NEW])
    stored = spoilt(keys.encrypted("secret"))
    with pytest.raises(CorruptToken):
        keys.decrypted(stored)
    assert keys.encrypted(stored) == stored
