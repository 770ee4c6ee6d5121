"""The Redis broker: kombu's transport, whose workers survive a lost connection.

After Celery has closed a broken connection, kombu may still try to return messages through it. The
closed connection no longer has the server's address, and kombu raises an error that nothing
catches: the worker stays alive, but never takes another message.
"""

from typing import Any

from kombu.transport import redis


class Channel(redis.Channel):
    """A channel that raises the error that Celery expects of a closed connection."""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection.client is None:
            raise ConnectionError("the connection to the broker was given up")
        return super()._connparams(asynchronous)


class Transport(redis.Transport):
    """The transport that `broker_transport` names for `redis://` and `rediss://`."""

    Channel = Channel
