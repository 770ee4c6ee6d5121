"""The Redis broker's transport, where it differs from kombu's."""

from types import SimpleNamespace

import pytest
from celery import Celery

from pacifica.notifications.broker.redis import Channel, Transport
from pacifica.notifications.broker.settings import BrokerSettings, celery_settings


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_celery_is_given_it_for_every_redis_url(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:1/0"
    app = Celery("test", broker=url)
    app.conf.update(celery_settings(BrokerSettings(url, "", 1.0, 60.0)))
    assert isinstance(app.connection_for_write().transport, Transport)


def test_channel_says_so_when_its_connection_was_given_up() -> None:
    channel = Channel.__new__(Channel)
    channel.connection = SimpleNamespace(client=None)
    with pytest.raises(ConnectionError, match="given up"):
        channel._connparams()
