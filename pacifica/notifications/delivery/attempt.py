"""What is kept of one request to a target: enough to see what went wrong, and no secrets."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from pacifica.notifications.flow import Attempt
from pacifica.notifications.subscriptions import Subscription
from pacifica.notifications.transport import Request, Response, SendFailure

#: What stands in the place of a secret.
MASK: Final = "***"
_SECRET_HEADERS = frozenset({"authorization", "webhook-signature"})
# Characters; `response_bytes` is what the delivery itself keeps of the last response.
_MAX_BODY = 4096
_MAX_URL = 2048


def attempt(
    request: Request,
    result: Response | SendFailure,
    subscription: Subscription,
    body: str,
    now: datetime,
) -> Attempt:
    """Return the record of a request that ended now; `body` is what may be kept of the response.

    The headers of a response are kept as long as it cannot repeat credentials in them: that is,
    where the subscription has none.
    """
    seconds = max(result.seconds, 0.0)
    response = result if isinstance(result, Response) else None
    headers = ""
    if response is not None and not _has_credentials(subscription):
        headers = _response_headers(response.headers)
    return Attempt(
        started=now - timedelta(seconds=seconds),
        milliseconds=round(seconds * 1000),
        url=without_secrets(request.url),
        address=result.address,
        request=_json(request.headers),
        status=None if response is None else response.status,
        response=headers,
        body=body[:_MAX_BODY],
        truncated=len(body) > _MAX_BODY or (response is not None and response.truncated),
    )


@lru_cache(maxsize=1024)
def without_secrets(url: str) -> str:
    """Return the beginning of a URL without user, password, query and fragment."""
    scheme, separator, rest = url.partition("://")
    rest = rest.partition("#")[0].partition("?")[0]
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"[:_MAX_URL]


def _has_credentials(subscription: Subscription) -> bool:
    url = subscription.target_url
    return bool(subscription.auth) or "@" in url or "?" in url


def _json(headers: Iterable[tuple[str, str]]) -> str:
    return json.dumps(
        [(name, MASK if name.lower() in _SECRET_HEADERS else value) for name, value in headers]
    )


@lru_cache(maxsize=256)
def _response_headers(block: bytes) -> str:
    """Return the headers of a response as JSON; the first line is its status."""
    lines = block.decode("latin-1").replace("\0", "\ufffd").splitlines()[1:]
    pairs = (line.partition(":") for line in lines if line)
    return json.dumps(
        [
            (name.strip(), MASK if name.strip().lower() == "set-cookie" else value.strip())
            for name, _, value in pairs
        ]
    )
