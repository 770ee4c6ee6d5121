"""Hides the secrets of a subscription's auth from those who read it.

An owner may read a subscription, edit it and send it back. A mask in it then stands for the stored
secret.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pacifica.notifications.errors import InvalidInput

MASK = "***"
_SECRETS = {"basic": "password", "header": "credentials", "signature": "secrets"}


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
