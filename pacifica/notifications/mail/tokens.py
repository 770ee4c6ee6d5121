"""What links in mails hold: nobody can guess it, it serves one purpose, and it expires.

A first mail has a random token, of which a hash is stored, and which is used once. A link to
unsubscribe names an agreement and when it expires, and is signed by a secret of that agreement.
"""

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from hmac import compare_digest, digest
from uuid import UUID

_BYTES = 32
_UUID_BYTES, _TIME_BYTES = 16, 8
_LENGTH = _UUID_BYTES + _TIME_BYTES + _BYTES
_PURPOSE = b"unsubscribe"


def new_token() -> str:
    """Return a random token for the link in a first mail."""
    return secrets.token_urlsafe(_BYTES)


def new_secret() -> str:
    """Return a random secret for an agreement."""
    return secrets.token_urlsafe(_BYTES)


def hashed(text: str) -> str:
    """Return the hash of a token or of another text, in hexadecimal."""
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def unsubscribe_token(agreement: UUID, secret: str, expires: int) -> str:
    """Return the token of a link to unsubscribe that expires at a POSIX time."""
    named = agreement.bytes + expires.to_bytes(_TIME_BYTES)
    return urlsafe_b64encode(named + _signature(named, secret)).decode()


def named_in(token: str) -> tuple[UUID, int] | None:
    """Return the agreement and the time that a token names, unchecked; None for another text."""
    content = _content(token)
    if content is None:
        return None
    named = content[:_UUID_BYTES], content[_UUID_BYTES : _UUID_BYTES + _TIME_BYTES]
    return UUID(bytes=named[0]), int.from_bytes(named[1])


def is_signed(token: str, secret: str) -> bool:
    """Tell whether a token to unsubscribe was made with a secret."""
    content = _content(token)
    if content is None or not secret:
        return False
    named, signature = content[:-_BYTES], content[-_BYTES:]
    return compare_digest(signature, _signature(named, secret))


def _content(token: str) -> bytes | None:
    try:
        content = urlsafe_b64decode(token.encode("ascii"))
    except ValueError:  # also for text that is not ASCII
        return None
    return content if len(content) == _LENGTH else None


def _signature(named: bytes, secret: str) -> bytes:
    return digest(secret.encode(), _PURPOSE + named, sha256)
