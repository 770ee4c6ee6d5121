"""Masks in place of the secrets of a subscription's auth, and what they stand for when they return.

An owner may edit what was read and send it back: a mask then means what is stored already.
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
# What is shorter is no secret, and is found in any text.
_SHORTEST = 4


def masked(subscription: Mapping[str, Any]) -> dict[str, Any]:
    """Return a subscription, as its owner reads it, with masks for the secrets of its auth."""
    return {**subscription, "auth": _masked_auth(subscription["auth"])}


def unmasked(body: Any, stored: Mapping[str, Any]) -> Any:
    """Return a request's body with the stored auth where it repeats the masked one.

    `stored` is the subscription as its owner would read it without masks; of a new one, nothing.
    Raises InvalidInput for a mask beside something new: what it stands for may not be meant.
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
    """Return a text, such as a target's answer, with masks where it repeats what was sent to it."""
    if not auth or not text:
        return text
    # Longest first: a part of one must not be left because another was found in it.
    for form in sorted(set(_forms(auth)), key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _forms(auth: Mapping[str, Any]) -> Iterator[str]:
    """Give the secrets of an auth as programs write them that repeat a request."""
    for _field, _name, secret in _secrets_of(auth):
        if isinstance(secret, str) and len(secret) >= _SHORTEST:
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
            masked[kind] = MASK  # what somebody wrote into the database
    return masked


def _secrets_of(auth: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Give field, name and value of each secret, of whatever a body has in their places."""
    for kind, name in _SECRETS.items():
        block = auth.get(kind)
        secret = block.get(name) if isinstance(block, dict) else None
        if isinstance(secret, list):
            for number, value in enumerate(secret):
                yield f"auth.{kind}.{name}.{number}", "secret", value
        else:
            yield f"auth.{kind}.{name}", name, secret
