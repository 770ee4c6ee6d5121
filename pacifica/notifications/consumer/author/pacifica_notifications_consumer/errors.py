"""The errors of a transfer, and how a service's text is shown in them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

# How many characters of a service's response an error shows.
_MOST_SHOWN = 500
_PASSING = {
    None,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class TransferError(Exception):
    """A download or upload failed; the message is one line of printable text."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(each if each.isprintable() else "?" for each in message))
        #: The folder of the transfer, for the traceback.
        self.folder: Path | None = None


class ServiceError(TransferError):
    """A service failed a request; `status` is None if it sent no response."""

    def __init__(self, service: str, problem: str, status: int | None = None) -> None:
        super().__init__(f"{service} {problem}")
        self.service = service
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Return whether a retry may succeed."""
        return self.status in _PASSING


@contextmanager
def concerning(paths: Sequence[str]) -> Iterator[None]:
    """Add the names of the files to a ServiceError in the block."""
    try:
        yield
    except ServiceError as error:
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        raise TransferError(f"{shown(paths[0])}{others}: {error}") from error


def shown(text: str) -> str:
    """Return an untrusted text as one short line of printable characters."""
    line = " ".join(text[: 2 * _MOST_SHOWN].split())
    return "".join(each if each.isprintable() else "?" for each in line)[:_MOST_SHOWN]
