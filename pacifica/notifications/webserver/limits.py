"""The limits of the web server: how long clients may take, and how much memory."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits in seconds and bytes; `held` is for all connections together."""

    body: int
    head: int = 64 * 2**10
    held: int = 256 * 2**20
    threads: int = 16
    connections: int = 1000
    backlog: int = 512
    header_timeout: float = 10.0
    body_timeout: float = 60.0
    idle_timeout: float = 10.0
    shutdown_timeout: float = 5.0
