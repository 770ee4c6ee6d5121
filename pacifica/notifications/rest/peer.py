"""From which address a request really came, whatever its headers say of that."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from typing import Any

from pacifica.notifications.settings import Network


def comes_from(networks: Iterable[Network], environ: Mapping[str, Any]) -> bool:
    """Tell whether a request came from one of the networks.

    `environ` is that of WSGI (PEP 3333). CherryPy's own notion of the client may be what
    `X-Forwarded-For` says. One that came through a Unix socket has no address, and is in none.
    """
    try:
        address = ip_address(environ.get("REMOTE_ADDR") or "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
