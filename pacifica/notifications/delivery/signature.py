"""Signing what is delivered, as the Standard Webhooks specification 1.0.0 has it."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from hmac import digest
from typing import Final
from uuid import UUID

from pacifica.notifications.events.attributes import base64_bytes

#: What a secret begins with, before its Base64.
PREFIX: Final = "whsec_"
#: Between how many bytes a secret has.
SHORTEST, LONGEST = 24, 64


def signature_headers(
    delivery: UUID, body: bytes, secrets: Sequence[str], now: datetime
) -> tuple[tuple[str, str], ...]:
    """Return the headers by which a target that has one of the secrets knows who sent a body.

    `now` is naive UTC. Raises ValueError, which tells nothing of it, for a secret that is none, and
    where there is none at all.
    """
    if not secrets:
        raise ValueError("must have a secret")
    moment = int(now.replace(tzinfo=UTC).timestamp())
    signed = f"{delivery}.{moment}.".encode() + body
    return (
        ("webhook-id", str(delivery)),
        ("webhook-timestamp", str(moment)),
        ("webhook-signature", " ".join(_signatures(signed, secrets))),
    )


def _signatures(signed: bytes, secrets: Sequence[str]) -> Iterator[str]:
    for secret in secrets:
        yield f"v1,{b64encode(digest(_key(secret), signed, sha256)).decode()}"


def _key(secret: str) -> bytes:
    key = base64_bytes(secret.removeprefix(PREFIX))
    if not secret.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"must be {PREFIX} and the Base64 of {SHORTEST} to {LONGEST} bytes")
    return key
