"""What is secret in the database: encrypted as it is stored, where the configuration has a key.

A stored text is `fernet:NAME:TOKEN`, with the name of the key that made the token, or plain.
"""

import re
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from typing import Any

import peewee

from pacifica.notifications.config import load_settings
from pacifica.notifications.errors import StoreUnavailable

MARK = "fernet:"
# What holds no secret, and so stays as it is.
NOTHING = ("", "{}", "null")
_STORED = re.compile(f"{MARK}([0-9a-f]{{8}}):(.*)", re.DOTALL)


class CorruptToken(ValueError):
    """A stored text that its own key does not decrypt."""


class Keyring:
    """Keys, the first of which encrypts; each decrypts what it has encrypted."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = {_name(key): _cipher(key) for key in keys}
        self.first = next(iter(self._keys), None)

    @property
    def prefix(self) -> str | None:
        """What all texts begin with that the first key has encrypted; None without keys."""
        return None if self.first is None else f"{MARK}{self.first}:"

    def encrypted(self, text: str) -> str:
        """Return a text as it is to be stored; what could not be decrypted stays as it was."""
        if self.first is None or text in NOTHING or text.startswith(MARK):
            return text
        return f"{self.prefix}{self._keys[self.first].encrypt(text.encode()).decode()}"

    def decrypted(self, stored: str) -> str:
        """Return a stored text in plain.

        Raises CorruptToken, or StoreUnavailable for one whose key is not there: it is an operator's
        mistake, which must not look like a fault of the text.
        """
        if not stored.startswith(MARK):
            return stored
        name = key_name(stored)
        if name is None:
            raise CorruptToken
        self.require({name})
        # Imported here, since few have keys, and it takes as long as half of all others.
        from cryptography.fernet import InvalidToken

        try:
            return self._keys[name].decrypt(stored.rpartition(":")[2]).decode()
        except (InvalidToken, UnicodeError) as error:
            raise CorruptToken from error

    def require(self, names: set[str]) -> None:
        """Raise StoreUnavailable unless all keys of these names are there."""
        absent = ", ".join(sorted(names - self._keys.keys()))
        if absent:
            raise StoreUnavailable(
                f"the database holds auth that is encrypted by keys which [security] key does not "
                f"have (their SHA-256 begins with {absent})"
            )


class SecretField(peewee.TextField):
    """Long text that is encrypted in the database and plain in the program.

    What cannot be decrypted reads as it is stored, which is no JSON.
    """

    field_type = "LONGTEXT"

    def db_value(self, value: str | None) -> str | None:
        """Encrypt."""
        return value and keyring().encrypted(value)

    def python_value(self, value: str | None) -> str | None:
        """Decrypt; raises StoreUnavailable where the key is not configured."""
        try:
            return value and keyring().decrypted(value)
        except CorruptToken:
            return value


@cache
def keyring() -> Keyring:
    """Return the configured keys, as they were when this process first needed them."""
    return Keyring(load_settings().security.key)


def key_name(stored: str) -> str | None:
    """Return the name of the key that a stored text names."""
    found = _STORED.fullmatch(stored)
    return found and found[1]


def _name(key: str) -> str:
    """Name a key by what tells nothing of it."""
    return sha256(key.encode()).hexdigest()[:8]


def _cipher(key: str) -> Any:
    from cryptography.fernet import Fernet

    return Fernet(key)
