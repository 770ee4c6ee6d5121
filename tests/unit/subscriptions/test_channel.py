"""The scheme of a target URL says how events go to the owner of a subscription."""

import pytest

from pacifica.notifications.subscriptions import Channel


@pytest.mark.parametrize(
    ("target_url", "channel"),
    [
        ("https://target.example/events", Channel.WEBHOOK),
        ("http://pull:8080/", Channel.WEBHOOK),
        ("pull:", Channel.PULL),
        ("PULL:", Channel.PULL),
        ("mailto:dml@facility.example", Channel.MAIL),
        ("", Channel.WEBHOOK),
    ],
)
def test_channel_is_named_by_the_scheme(target_url: str, channel: Channel) -> None:
    assert Channel.of(target_url) is channel
