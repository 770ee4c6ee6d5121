"""Asks Pacifica Policy whether it knows a user."""

from typing import Any

_CONNECT_TIMEOUT = 5.0
_TIMEOUT = 20.0
_MAX_BYTES = 2**16
_OK = 200


def lacks_user(url: str, user: str, authorization: str | None) -> bool:
    """Tell whether Policy says that it knows no user of exactly this name.

    Without an answer that says so, it may know the user. `authorization` is for a proxy in front.
    """
    # Imported here, because the import opens a socket.
    import requests

    def identified(request: Any) -> Any:  # as `auth`, so that ~/.netrc is unused
        if authorization:
            request.headers["Authorization"] = authorization
        return request

    query: Any = {"user": -1, "columns": ["_id"], "from": "users", "where": {"network_id": user}}
    try:
        with requests.post(
            f"{url.rstrip('/')}/uploader",
            json=query,
            auth=identified,
            timeout=(_CONNECT_TIMEOUT, _TIMEOUT),
            allow_redirects=False,
            stream=True,
        ) as answer:
            body: bytes = next(answer.iter_content(_MAX_BYTES), b"")
            return answer.status_code == _OK and body.strip() == b"[]"
    except (requests.RequestException, ValueError):
        return False
