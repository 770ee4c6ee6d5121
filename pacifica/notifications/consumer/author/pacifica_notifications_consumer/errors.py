"""What goes wrong with a transfer, and how what a service said of it is shown."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

# Characters of a service's answer that an error shows.
_MOST_SHOWN = 500
_PASSING = {
    None,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class TransferError(Exception):
    """A download or upload that cannot be done; the message is one line of printable text."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(each if each.isprintable() else "?" for each in message))


class ServiceError(TransferError):
    """What a service answered was not what was asked for; `status` is None without an answer."""

    def __init__(self, service: str, problem: str, status: int | None = None) -> None:
        super().__init__(f"{service} {problem}")
        self.service = service
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Tell whether asking again may help."""
        return self.status in _PASSING


@contextmanager
def concerning(paths: Sequence[str]) -> Iterator[None]:
    """Have what a service did wrong in the block name the files that it was about."""
    try:
        yield
    except ServiceError as error:
        others = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        raise TransferError(f"{shown(paths[0])}{others}: {error}") from error


def shown(text: str) -> str:
    """Return a foreign text as one short line of printable characters."""
    line = " ".join(text[: 2 * _MOST_SHOWN].split())
    return "".join(each if each.isprintable() else "?" for each in line)[:_MOST_SHOWN]
