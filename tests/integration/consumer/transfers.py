"""What downloads and uploads share: files, the environment, and the reason of a failure."""

from collections.abc import Callable
from typing import Any

import pytest
from promise import Promise

from pacifica.notifications.consumer.author.pacifica_notifications_consumer import (
    TransferError,
)

FILES = {"a/b/foo.txt": b"foo\n", "パソ.xls": b"\0\1", "empty": b""}
ATTRIBUTES = {
    "Transactions.submitter": 10,
    "Transactions.project": "1236é",
    "Transactions.instrument": 54,
}
Behaviour = Callable[..., None]


def use(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], **changes: str) -> None:
    for name, value in {**environment, **changes}.items():
        monkeypatch.setenv(name, value)


def rejection(promise: "Promise[dict[str, Any]]") -> str:
    """Return the message of a promise that was rejected."""
    with pytest.raises(TransferError) as caught:
        promise.get()
    message = str(caught.value)
    assert message.isprintable()
    return message
