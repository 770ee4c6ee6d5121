"""Answers as bytes."""

import json
from typing import Any


def encode_text(thing_obj: Any) -> bytes:
    """Return the UTF-8 bytes of an answer: of a text as it is, of anything else as JSON."""
    text = thing_obj if isinstance(thing_obj, str) else json.dumps(thing_obj)
    return text.encode()
