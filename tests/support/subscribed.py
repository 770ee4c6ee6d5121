"""What subscriptions and requests of tests are made of."""

from typing import Any

UNKNOWN = "c81278a3-02f5-42bd-bff3-3c9d3d485b2e"
BASIC = {"type": "basic", "basic": {"username": "bob", "password": "sesame"}}
BEARER = {"type": "header", "header": {"type": "Bearer", "credentials": "tok.en=="}}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def shown(value: Any) -> str:
    return ascii(value)[:60]
