"""From which address a request came."""

import pytest

from pacifica.notifications.rest.admission import comes_from
from pacifica.notifications.settings import keys


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("192.0.2.10", "192.0.2.10", True),
        ("192.0.2.11", "192.0.2.10", False),
        ("10.9.8.7", "192.0.2.10 10.0.0.0/8", True),
        ("::ffff:10.9.8.7", "10.0.0.0/8", True),
        ("::ffff:11.9.8.7", "10.0.0.0/8", False),
        ("::1", "127.0.0.1", False),
        ("::1", "::1", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("0.0.0.1", "::/0", False),
        ("", "0.0.0.0/0 ::/0", False),
        ("unix:", "0.0.0.0/0 ::/0", False),
        ("10.9.8.7, 192.0.2.10", "192.0.2.10", False),
        ("192.0.2.10", "", False),
    ],
)
def test_request_comes_from_networks_when_its_address_is_in_one(
    address: str, networks: str, expected: bool
) -> None:
    environ = {"REMOTE_ADDR": address, "HTTP_X_FORWARDED_FOR": "192.0.2.10"}
    assert comes_from(keys.NETWORKS.read(networks), environ) is expected


def test_request_comes_from_nowhere_when_its_server_tells_no_address() -> None:
    assert not comes_from(keys.NETWORKS.read("0.0.0.0/0 ::/0"), {})
