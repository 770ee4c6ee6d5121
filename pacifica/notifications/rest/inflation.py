"""Making what gzip made small large again, within bounds."""

import zlib

from pacifica.notifications.errors import InvalidInput

# How much is looked at at once: what a member leaves is copied, and there may be many.
_AT_ONCE = 16 * 2**10
_MOST_MEMBERS = 64
_GZIP = 16 + zlib.MAX_WBITS


def inflated(body: bytes, most: int) -> bytes | None:
    """Return what a gzip file holds (RFC 1952); None where that is more than `most` bytes.

    No more than that is ever made. Raises InvalidInput for what is broken, or has too many members.
    """
    parts: list[bytes] = []
    left = most + 1
    members = 0
    decoder = None
    for start in range(0, len(body), _AT_ONCE):
        waiting = body[start : start + _AT_ONCE]
        while waiting:
            if decoder is None:
                members += 1
                if members > _MOST_MEMBERS:
                    raise InvalidInput(("body", f"has more than {_MOST_MEMBERS} members of gzip"))
                decoder = zlib.decompressobj(_GZIP)
            try:
                part = decoder.decompress(waiting, left)
            except zlib.error as error:
                raise InvalidInput(("body", "is not gzip, or is broken")) from error
            parts.append(part)
            left -= len(part)
            if left <= 0:
                return None
            waiting = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
            if decoder.eof:
                decoder = None
    if decoder is not None or not members:
        raise InvalidInput(("body", "is gzip that is not complete"))
    return b"".join(parts)
