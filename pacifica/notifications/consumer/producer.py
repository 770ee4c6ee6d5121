"""Asks the producer of notifications to make, change, show and delete subscriptions."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pacifica.notifications.errors import ConsumerError

_CONNECT_TIMEOUT = 5.0
_TIMEOUT = 20.0
# How much of a response is read, and how much of an error is shown (bytes).
_MAX_BYTES = 2**24
_MAX_SHOWN = 200
# How much of the error of a subscription is shown (characters).
_MAX_ERROR = 1000
_OK = 200
_GONE = 403  # the subscription does not exist, or is not the caller's


@dataclass(frozen=True)
class Subscribed:
    """A subscription as the producer has it; `error` is why it is disabled, in one line."""

    uuid: UUID
    jsonpath: str
    is_disabled: bool
    error: str | None


@dataclass(frozen=True)
class FetchedItem:
    """A notification that was fetched, and the lock by which it is acknowledged."""

    lock: str
    event: dict[str, Any]


@dataclass(frozen=True)
class FetchedItems:
    """What was fetched, and after how many seconds to fetch again."""

    items: Sequence[FetchedItem]
    retry_after: float


@dataclass(frozen=True)
class Producer:
    """The service that sends notifications, and the user who subscribes.

    `authorization` is for a proxy in front of the service, and is not in the `repr`.
    """

    url: str
    user: str
    user_header: str = "Http-Remote-User"
    authorization: str | None = field(default=None, repr=False)

    def subscribe(self, name: str, jsonpath: str, target_url: str, token: str | None) -> UUID:
        """Subscribe a URL, with a bearer token or none, to matching events.

        Raises ConsumerError.
        """
        subscription = {"name": name, "jsonpath": jsonpath, **_target(target_url, token)}
        answer = self._call("POST", "/eventmatch", subscription)
        self._require(answer, "did not take the subscription")
        try:
            return UUID(json.loads(answer.body)["uuid"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConsumerError(f"{self.shown_url} answered with no subscription") from error

    def unsubscribe(self, uuid: UUID) -> None:
        """Delete a subscription if it exists; raise ConsumerError."""
        answer = self._call("DELETE", f"/eventmatch/{uuid}")
        if answer.status != _GONE:
            self._require(answer, "did not end the subscription")

    def renew(self, uuid: UUID, target_url: str, token: str | None) -> None:
        """Give a subscription a new URL and token, and enable it; raise ConsumerError.

        The producer then sends what it held meanwhile.
        """
        changes = {**_target(target_url, token), "disabled": None, "error": None}
        answer = self._call("PUT", f"/eventmatch/{uuid}", changes)
        self._require(answer, "did not renew the subscription")

    def read(self, uuid: UUID) -> Subscribed | None:
        """Return a subscription of the caller, None if there is none; raise ConsumerError."""
        answer = self._call("GET", f"/eventmatch/{uuid}")
        if answer.status == _GONE:
            return None
        self._require(answer, "did not show the subscription")
        try:
            return _subscribed(json.loads(answer.body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConsumerError(f"{self.shown_url} answered with no subscription") from error

    def named(self, name: str) -> Subscribed | None:
        """Return the caller's subscription with a name, None if absent; raise ConsumerError."""
        answer = self._call("GET", "/eventmatch")
        self._require(answer, "did not list the subscriptions")
        try:
            listed = json.loads(answer.body)
            return next((_subscribed(each) for each in listed if each["name"] == name), None)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConsumerError(f"{self.shown_url} answered with no list") from error

    def fetch(self, uuid: UUID, count: int, lock: int, wait: int) -> FetchedItems:
        """Fetch up to `count` notifications for `lock` seconds, for which the producer may wait.

        Raises ConsumerError.
        """
        body = {"max": count, "lock": lock, "wait": wait}
        answer = self._call("POST", f"/eventmatch/{uuid}/pull", body)
        self._require(answer, "gave no notifications")
        try:
            document = json.loads(answer.body)
            items = [
                FetchedItem(str(each["lock"]), dict(each["event"])) for each in document["items"]
            ]
            return FetchedItems(items, float(document["retry_after"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConsumerError(f"{self.shown_url} answered with no notifications") from error

    def acknowledge(self, uuid: UUID, locks: Sequence[str]) -> None:
        """Say that notifications have arrived; raise ConsumerError."""
        answer = self._call("POST", f"/eventmatch/{uuid}/pull/acknowledge", {"locks": list(locks)})
        self._require(answer, "did not take what was acknowledged")

    def release(self, uuid: UUID, locks: Sequence[str]) -> None:
        """Have notifications handed out again; raise ConsumerError."""
        answer = self._call("POST", f"/eventmatch/{uuid}/pull/release", {"locks": list(locks)})
        self._require(answer, "did not take what was released")

    def _call(self, method: str, path: str, body: Any = None) -> "_Response":
        # Imported here, because the import opens a socket.
        import requests

        try:
            with requests.request(
                method,
                self.url.rstrip("/") + path,
                json=body,
                auth=self._identified,
                timeout=(_CONNECT_TIMEOUT, _TIMEOUT),
                allow_redirects=False,
                stream=True,
            ) as answer:
                pieces = answer.iter_content(_MAX_BYTES)
                return _Response(answer.status_code, next(pieces, b""))
        except (requests.RequestException, ValueError) as error:
            raise ConsumerError(
                f"no answer from {self.shown_url} ({type(error).__name__})"
            ) from error

    def _identified(self, request: Any) -> Any:
        """Add the caller's headers; as the request's `auth`, so that ~/.netrc is unused."""
        request.headers[self.user_header] = self.user
        if self.authorization:
            request.headers["Authorization"] = self.authorization
        return request

    def _require(self, answer: "_Response", failure: str) -> None:
        if answer.status != _OK:
            said = _one_line(answer.body[:_MAX_SHOWN].decode("utf-8", "replace"))
            raise ConsumerError(f"{self.shown_url} {failure}: {answer.status} {said}")

    @property
    def shown_url(self) -> str:
        """The URL without what may be secret."""
        scheme, separator, rest = self.url.partition("://")
        return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


@dataclass(frozen=True)
class _Response:
    status: int
    body: bytes


def _target(url: str, token: str | None) -> dict[str, Any]:
    if token is None:
        return {"target_url": url, "auth": {}}
    header = {"type": "Bearer", "credentials": token}
    return {"target_url": url, "auth": {"type": "header", "header": header}}


def _subscribed(document: Any) -> Subscribed:
    error = document["error"]
    return Subscribed(
        UUID(document["uuid"]),
        str(document["jsonpath"]),
        document["disabled"] is not None,
        None if error is None else _one_line(str(error))[:_MAX_ERROR],
    )


def _one_line(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text).strip()


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def bearer(token: str) -> str:
    """Return the value of an Authorization header (RFC 6750)."""
    return f"Bearer {token}"
