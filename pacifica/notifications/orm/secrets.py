"""Encrypts stored secrets if the configuration has a key.

A stored text is `fernet:NAME:TOKEN`, with the name of the key that made the token, or plain text.
"""

import re
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from pacifica.notifications.errors import StoreUnavailable

MARK = "fernet:"
# Texts without a secret, which are stored in plain text.
NOTHING = ("", "{}", "null")
_STORED = re.compile(f"{MARK}([0-9a-f]{{8}}):(.*)", re.DOTALL)


class CorruptToken(ValueError):
    """A stored text that its own key cannot decrypt."""


class Keyring:
    """Keys: the first one encrypts, and each decrypts what it has encrypted."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = {_name(key): _cipher(key) for key in keys}
        self.first = next(iter(self._keys), None)

    @property
    def prefix(self) -> str | None:
        """The prefix of all texts that the first key has encrypted; None without keys."""
        return None if self.first is None else f"{MARK}{self.first}:"

    def encrypted(self, text: str) -> str:
        """Return a text for storage; a text with the mark is stored unchanged."""
        if self.first is None or text in NOTHING or text.startswith(MARK):
            return text
        return f"{self.prefix}{self._keys[self.first].encrypt(text.encode()).decode()}"

    def decrypted(self, stored: str) -> str:
        """Return a stored text in plain text.

        Raises CorruptToken, or StoreUnavailable if its key is not configured: an operator's mistake
        must not look like a corrupt text.
        """
        if not stored.startswith(MARK):
            return stored
        name = key_name(stored)
        if name is None:
            raise CorruptToken
        self.require({name})
        # Imported here, because few configurations have keys, and the import is slow.
        from cryptography.fernet import InvalidToken

        try:
            return self._keys[name].decrypt(stored.rpartition(":")[2]).decode()
        except (InvalidToken, UnicodeError) as error:
            raise CorruptToken from error

    def require(self, names: set[str]) -> None:
        """Raise StoreUnavailable unless all keys with these names are configured."""
        absent = ", ".join(sorted(names - self._keys.keys()))
        if absent:
            raise StoreUnavailable(
                f"the database holds auth that is encrypted by keys which [security] key does not "
                f"have (their SHA-256 begins with {absent})"
            )


def key_name(stored: str) -> str | None:
    """Return the name of the key that encrypted a stored text; None if it names none."""
    found = _STORED.fullmatch(stored)
    return found and found[1]


def _name(key: str) -> str:
    """Return a name for a key that reveals nothing of it."""
    return sha256(key.encode()).hexdigest()[:8]


def _cipher(key: str) -> Any:
    from cryptography.fernet import Fernet

    return Fernet(key)
