"""What of an answer is kept in the record, and told to a subscription's owner."""

from pacifica.notifications.transport import Response, SendFailure

_SHOWN = 500


def answered(result: Response | SendFailure) -> tuple[str, str]:
    """Return the status and the text that are recorded; without an answer, '' and the reason.

    A NUL, which PostgreSQL refuses, and bytes that are not UTF-8 become the replacement character.
    """
    if isinstance(result, SendFailure):
        return "", result.reason
    return str(result.status), result.body.decode("utf-8", "replace").replace("\0", "\ufffd")


def shown(body: str) -> str:
    """Return a text on one line, of printable characters only, and not too long."""
    line = "".join(c if c.isprintable() else " " for c in body[: 4 * _SHOWN])
    return " ".join(line.split())[:_SHOWN]
