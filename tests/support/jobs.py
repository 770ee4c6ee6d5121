"""Backtests and replays as their users see them: over HTTP."""

import http.client
import json
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.support.deployments import USER, Service

#: Seconds within which a small job ends, however busy the machine is.
ENDS = 30.0


def moment(**before: float) -> str:
    """Return a time before now as bodies have it."""
    return (datetime.now(UTC) - timedelta(**before)).isoformat()


def request(
    service: Service,
    method: str,
    path: str,
    body: Any = None,
    *,
    user: str = "alice",
    key: str | None = None,
) -> tuple[int, Any, dict[str, str]]:
    """Send a request and return its status, its JSON and its headers."""
    headers = {**USER, "Http-Remote-User": user}
    if key is not None:
        headers["Idempotency-Key"] = key
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)) as connection:
        written = None if body is None else json.dumps(body).encode()
        connection.request(method, path, written, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read()), dict(response.getheaders())


def begin_backtest(service: Service, user: str = "alice", **body: Any) -> str:
    """Begin a backtest of the last hour and return its path."""
    whole = {"from": moment(hours=1), **body}
    status, answer, headers = request(service, "POST", "/backtests", whole, user=user)
    assert (status, headers["Location"]) == (202, f"/backtests/{answer.get('uuid')}"), answer
    return headers["Location"]


def begin_replay(
    service: Service,
    subscription: str,
    mode: str,
    key: str | None = None,
    user: str = "alice",
    **body: Any,
) -> str:
    """Begin a replay of the last hour and return its path."""
    path = f"/eventmatch/{subscription}/replays"
    whole = {"from": moment(hours=1), "mode": mode, **body}
    status, answer, headers = request(
        service, "POST", path, whole, user=user, key=str(uuid4()) if key is None else key
    )
    assert (status, headers.get("Location")) == (202, f"{path}/{answer.get('uuid')}"), answer
    return headers["Location"]


def ended(
    service: Service,
    path: str,
    user: str = "alice",
    timeout: float = ENDS,
    pause: float = 0.02,
) -> Any:
    """Wait until a job has ended and return it; look at it with a pause in between (seconds)."""
    deadline = time.monotonic() + timeout
    while True:
        found = request(service, "GET", path, user=user)[1]
        if found["state"] != "running":
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"it has not ended within {timeout:g} s: {found}")
        time.sleep(pause)
