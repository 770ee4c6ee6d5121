"""Hides the secrets of a subscription's auth from its owner and from recorded responses.

An owner may read a subscription, edit it and send it back. A mask in it then stands for the stored
secret.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from html import escape
from json import dumps
from typing import Any
from urllib.parse import quote

from pacifica.notifications.errors import InvalidInput

MASK = "***"
_SECRETS = {"basic": "password", "header": "credentials", "signature": "secrets"}
# A shorter text is not secret, and occurs in many texts.
_MIN_SECRET_LENGTH = 4


def masked(subscription: Mapping[str, Any]) -> dict[str, Any]:
    """Return a subscription with a mask in place of each secret of its auth."""
    return {**subscription, "auth": _masked_auth(subscription["auth"])}


def unmasked(body: Any, stored: Mapping[str, Any]) -> Any:
    """Return a request's body with the stored auth in place of the masked auth.

    `stored` is the subscription without masks; empty for a new one. Raises InvalidInput if auth has
    a mask but otherwise differs from the stored auth, because the owner may not mean the stored
    secret.
    """
    auth = body.get("auth") if isinstance(body, dict) else None
    if not isinstance(auth, dict):
        return body
    known = stored.get("auth")
    if known is not None and auth == _masked_auth(known):
        return {**body, "auth": known}
    problems = [
        (field, f"is masked; give the {name} again")
        for field, name, value in _secrets_of(auth)
        if value == MASK
    ]
    if problems:
        raise InvalidInput(*problems)
    return body


def without_secrets(text: str, auth: Mapping[str, Any]) -> str:
    """Return a text, such as a response body, with a mask for each secret in it."""
    if not auth or not text:
        return text
    # The longest come first, because a secret may be part of another one.
    for spelling in sorted(set(_spellings(auth)), key=len, reverse=True):
        text = text.replace(spelling, MASK)
    return text


def _spellings(auth: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secrets of an auth in each spelling that a target may echo."""
    for _field, _name, secret in _secrets_of(auth):
        if isinstance(secret, str) and len(secret) >= _MIN_SECRET_LENGTH:
            yield from (secret, dumps(secret)[1:-1], escape(secret), quote(secret))
            yield b64encode(secret.encode(errors="replace")).decode()
    basic = auth.get("basic")
    if isinstance(basic, dict):
        pair = f"{basic.get('username')}:{basic.get('password')}"
        yield b64encode(pair.encode(errors="replace")).decode()


def _masked_auth(auth: Mapping[str, Any]) -> dict[str, Any]:
    masked = dict(auth)
    for kind, name in _SECRETS.items():
        block = auth.get(kind)
        if isinstance(block, dict) and name in block:
            secret = block[name]
            mask = [MASK] * len(secret) if isinstance(secret, list) else MASK
            masked[kind] = {**block, name: mask}
        elif block is not None and not isinstance(block, dict):
            masked[kind] = MASK  # not written by this service
    return masked


def _secrets_of(auth: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield field, name and value of each secret; a request may have any value."""
    for kind, name in _SECRETS.items():
        block = auth.get(kind)
        secret = block.get(name) if isinstance(block, dict) else None
        if isinstance(secret, list):
            for index, value in enumerate(secret):
                yield f"auth.{kind}.{name}.{index}", "secret", value
        else:
            yield f"auth.{kind}.{name}", name, secret
