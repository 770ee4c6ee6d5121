"""A transport that reports the result of each request."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from pacifica.notifications.transport.client import Transport
from pacifica.notifications.transport.messages import Request, SendResult

Observer = Callable[[Request, SendResult], None]


class ObservedTransport(Transport):
    """Calls `observer` with each request that was not cancelled and its result.

    That happens in the transport's thread, so the observer must be quick. Other arguments are those
    of Transport.
    """

    def __init__(self, observer: Observer, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._observer = observer

    def submit(self, request: Request) -> Future[SendResult]:
        """Do as Transport does."""
        future = super().submit(request)
        future.add_done_callback(partial(self._report, request))
        return future

    def _report(self, request: Request, future: Future[SendResult]) -> None:
        if not future.cancelled():
            self._observer(request, future.result())
