"""The rules about the network addresses to which requests may go."""

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

from pacifica.notifications.settings import DeliverySettings, Network

Address: TypeAlias = IPv4Address | IPv6Address

_NOT_PUBLIC = "only addresses of the public internet are allowed"
_NOT_LISTED = "only addresses that the operator has listed are allowed"
_NOT_HTTPS = "only https is allowed"
_UNKNOWN = "only IPv4 and IPv6 addresses are allowed"


@dataclass(frozen=True)
class Rules:
    """Where requests may go: not to `deny`; if `strict`, only to public https hosts.

    Addresses in `allow` are exceptions from both, but `strict` requires https for them too. An IPv6
    address that embeds an IPv4 address (of a tunnel or a translator) is permitted only if both
    addresses are. An IPv4-mapped address (RFC 4291, section 2.5.5.2) counts as the IPv4 address.
    """

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    strict: bool = False

    @property
    def refuse_addresses(self) -> bool:
        """Whether the rules may refuse any address."""
        return self.strict or bool(self.deny)

    def refusal(self, address: str | Address) -> str | None:
        """Return the rule that refuses an address, or None if it is permitted.

        The text does not repeat the address. A zone (RFC 4007) is ignored.
        """
        try:
            parsed = ip_address(address)
        except ValueError:
            return _UNKNOWN
        refusals = (self._refusal_of(each) for each in _with_embedded(parsed))
        return next((refusal for refusal in refusals if refusal is not None), None)

    def refusal_of_scheme(self, scheme: str) -> str | None:
        """Return the rule that refuses a URL's scheme, or None if it is permitted."""
        return _NOT_HTTPS if self.strict and scheme != "https" else None

    def _refusal_of(self, address: Address) -> str | None:
        if any(address in _unmapped(network) for network in self.allow):
            return None
        for network in self.deny:
            if address in _unmapped(network):
                refusal = f"addresses in {network} are not allowed"
                return refusal if network.prefixlen else _NOT_LISTED
        return _NOT_PUBLIC if self.strict and not _is_public(address) else None


NO_RULES = Rules()


def delivery_rules(settings: DeliverySettings) -> Rules:
    """Return the rules for deliveries."""
    return Rules(settings.allow_networks, settings.deny_networks, settings.strict)


def literal_address(host: str) -> Address | None:
    """Return the address in a URL's host, without its zone; None for a name.

    An IPv4 address may have any spelling of inet_aton (POSIX): one to four parts, each decimal,
    octal or hexadecimal. Like a name, it may end with a dot.
    """
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" not in text:
        return _ipv4(text.removesuffix("."))
    try:
        return IPv6Address(text.partition("%")[0])
    except ValueError:
        return None


def _ipv4(text: str) -> IPv4Address | None:
    parts = text.split(".")
    if len(parts) > _IPV4_PARTS or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    *high, low = (int(part, _base(part)) for part in parts)
    # The last part stands for all remaining bytes.
    if any(number > 0xFF for number in high) or low >= 256 ** (_IPV4_PARTS - len(high)):
        return None
    return IPv4Address(low + sum(byte << 8 * (3 - place) for place, byte in enumerate(high)))


def _base(number: str) -> int:
    if number[:2] in ("0x", "0X"):
        return 16
    return 8 if number[0] == "0" else 10


def _with_embedded(address: Address) -> tuple[Address, ...]:
    """Return all addresses that must be permitted: an address, and those embedded in it."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _UNSPECIFIED_OR_LOOPBACK:
        return (address,)
    embedded: list[IPv4Address] = []
    interface = int(address) >> 32 & 0xFFFFFFFF
    if interface in _ISATAP or any(address in network for network in _LAST_32_BITS):
        embedded.append(IPv4Address(int(address) & 0xFFFFFFFF))
    if address.sixtofour is not None:
        embedded.append(address.sixtofour)
    if address.teredo is not None:
        embedded += address.teredo  # of the server and of the client
    return (address, *embedded)


def _is_public(address: Address) -> bool:
    networks = _PUBLIC_IPV6 if isinstance(address, IPv6Address) else _ALL_IPV4
    return (
        any(address in network for network in networks)
        and address.is_global
        and not any(address in network for network in _RESERVED)
    )


def _unmapped(network: Network) -> Network:
    """Return a network of IPv4-mapped addresses as the IPv4 network that it stands for."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network


_IPV4_PARTS = 4
# A decimal number of more than ten digits never fits into 32 bits.
_NUMBER = re.compile("0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]{0,9}")

_MAPPED = IPv6Network("::ffff:0:0/96")
# These only look as if they embedded an IPv4 address.
_UNSPECIFIED_OR_LOOPBACK = IPv6Network("::/127")
# The prefixes of IPv4-compatible (RFC 4291), translated (RFC 2765) and NAT64 addresses (RFC 6052
# and 8215), whose last 32 bits are an IPv4 address.
_LAST_32_BITS = tuple(
    IPv6Network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")
)
# The first half of an interface identifier whose second half is an IPv4 address (RFC 5214).
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})

_ALL_IPV4 = (IPv4Network("0.0.0.0/0"),)
# All global unicast addresses that IANA has allocated, and those of NAT64.
_PUBLIC_IPV6 = (IPv6Network("2000::/3"), IPv6Network("64:ff9b::/96"))
# From IANA's registries of special-purpose addresses. The table in Python's ipaddress depends on
# the version of Python, and takes multicast and the relays of 6to4 for global.
_RESERVED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # CGNAT
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4's relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocols: Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, whose relays are gone (RFC 7526); global for some versions of Python
        "3fff::/20",  # documentation
    )
)
