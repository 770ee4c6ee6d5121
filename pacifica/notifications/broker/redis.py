"""The Redis broker: kombu's transport, whose worker outlives a connection that was cut.

When Celery gives a broken connection up, kombu may still want to hand back messages through it. It
looks for the server's address where there is none any more, and what that raises is caught by
nobody: the worker stays as it is, and takes no message again.
"""

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """A channel that says of a connection that was given up what Celery expects to hear."""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection.client is None:
            raise ConnectionError("the connection to the broker was given up")
        return super()._connparams(asynchronous)


class Transport(redis.Transport):
    """What `broker_transport` names for a `redis://` or `rediss://` URL."""

    Channel = Channel
