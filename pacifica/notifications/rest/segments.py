"""The segments of a request's path."""

import re
from uuid import UUID

from pacifica.notifications.rest.errors import ApiError

_UUID = re.compile("(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}")


def uuid_of(segment: str) -> UUID:
    """Return the UUID in a segment of the path; refuse any other segment (400)."""
    # UUID() alone would accept underscores, blanks and braces.
    if not _UUID.fullmatch(segment):
        raise ApiError(400, "the last part of the path must be a UUID")
    return UUID(segment)
