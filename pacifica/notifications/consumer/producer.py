"""Subscribes to the producer of notifications, and ends subscriptions."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from pacifica.notifications.errors import ConsumerError

_CONNECT_TIMEOUT = 5.0
_TIMEOUT = 20.0
# How much of a response is read, and how much of an error is shown (bytes).
_MAX_BYTES = 2**24
_MAX_SHOWN = 200
_OK = 200
_GONE = 403  # the subscription does not exist, or is not the caller's


@dataclass(frozen=True)
class Producer:
    """The service that sends notifications, and the user who subscribes.

    `authorization` is for a proxy in front of the service, and is not in the `repr`.
    """

    url: str
    user: str
    user_header: str = "Http-Remote-User"
    authorization: str | None = field(default=None, repr=False)

    def subscribe(self, name: str, jsonpath: str, target_url: str, token: str) -> UUID:
        """Subscribe a URL, with a bearer token, to matching events; raise ConsumerError."""
        subscription = {
            "name": name,
            "jsonpath": jsonpath,
            "target_url": target_url,
            "auth": {"type": "header", "header": {"type": "Bearer", "credentials": token}},
        }
        answer = self._call("POST", "/eventmatch", subscription)
        self._require(answer, "did not take the subscription")
        try:
            return UUID(json.loads(answer.body)["uuid"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConsumerError(f"{self._place()} answered with no subscription") from error

    def unsubscribe(self, uuid: UUID) -> None:
        """Delete a subscription if it exists; raise ConsumerError."""
        answer = self._call("DELETE", f"/eventmatch/{uuid}")
        if answer.status != _GONE:
            self._require(answer, "did not end the subscription")

    def unsubscribe_named(self, name: str) -> None:
        """Delete the caller's subscriptions with a name; raise ConsumerError."""
        answer = self._call("GET", "/eventmatch")
        self._require(answer, "did not list the subscriptions")
        try:
            listed = json.loads(answer.body)
            named = [UUID(each["uuid"]) for each in listed if each["name"] == name]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConsumerError(f"{self._place()} answered with no list") from error
        for uuid in named:
            self.unsubscribe(uuid)

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
                f"no answer from {self._place()} ({type(error).__name__})"
            ) from error

    def _identified(self, request: Any) -> Any:
        """Add the caller's headers; as the request's `auth`, so that ~/.netrc is unused."""
        request.headers[self.user_header] = self.user
        if self.authorization:
            request.headers["Authorization"] = self.authorization
        return request

    def _require(self, answer: "_Response", failure: str) -> None:
        if answer.status != _OK:
            text = answer.body[:_MAX_SHOWN].decode("utf-8", "replace")
            said = "".join(each if each.isprintable() else " " for each in text).strip()
            raise ConsumerError(f"{self._place()} {failure}: {answer.status} {said}")

    def _place(self) -> str:
        scheme, separator, rest = self.url.partition("://")
        return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"


@dataclass(frozen=True)
class _Response:
    status: int
    body: bytes


def basic(user: str, password: str) -> str:
    """Return the value of an Authorization header (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def bearer(token: str) -> str:
    """Return the value of an Authorization header (RFC 6750)."""
    return f"Bearer {token}"
