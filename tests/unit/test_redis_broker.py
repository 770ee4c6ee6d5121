"""The Redis broker's transport, where it differs from kombu's."""

from types import SimpleNamespace

import pytest

from pacifica.notifications.redis_broker import Channel


def test_channel_says_so_when_its_connection_was_given_up() -> None:
    channel = Channel.__new__(Channel)
    channel.connection = SimpleNamespace(client=None)
    with pytest.raises(ConnectionError, match="given up"):
        channel._connparams()
