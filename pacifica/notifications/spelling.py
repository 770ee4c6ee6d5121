"""Suggests the name that somebody may have meant."""

from collections.abc import Iterable
from difflib import get_close_matches

# A longer name is not compared, because that takes long.
_MAX_LENGTH = 64


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a name; None if none is."""
    found = get_close_matches(name[:_MAX_LENGTH].lower(), sorted(known), 1)
    return found[0] if found else None
