"""Which addresses requests may be sent to, and which hosts are addresses."""

import re
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pacifica.notifications.config import load_settings
from pacifica.notifications.subscriptions.networks import (
    NO_RULES,
    Network,
    Rules,
    delivery_rules,
    literal_address,
)

STRICT = Rules(strict=True)
NOT_PUBLIC = "only addresses of the public internet are allowed"
METADATA = "addresses in 169.254.0.0/16 are not allowed"


@pytest.fixture
def default(monkeypatch: pytest.MonkeyPatch) -> Rules:
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", "/nonexistent/config.ini")
    return delivery_rules(load_settings().delivery)


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# What the default refuses


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "172.20.0.1", "100.64.0.1", "fd12::1"),
        *("8.8.8.8", "2606:4700::1111", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::8.8.8.8"),
    ],
)
def test_default_rules_permit_when_an_address_is_loopback_private_or_public(
    default: Rules, address: str
) -> None:
    assert default.refusal(address) is None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("169.254.169.254", "169.254.0.0/16"),
        ("0.0.0.0", "0.0.0.0/8"),  # noqa: S104
        ("224.0.0.1", "224.0.0.0/4"),
        ("255.255.255.255", "255.255.255.255/32"),
        ("100.100.100.200", "100.100.100.200/32"),
        ("168.63.129.16", "168.63.129.16/32"),
        ("192.0.0.192", "192.0.0.192/32"),
        ("::", "::/128"),
        ("fe80::1", "fe80::/10"),
        ("fe80::1%eth0", "fe80::/10"),
        ("ff02::1", "ff00::/8"),
        ("fd00:ec2::254", "fd00:ec2::254/128"),
        ("fd20:ce::254", "fd20:ce::254/128"),
    ],
)
def test_default_rules_name_the_network_when_an_address_is_in_one_that_is_denied(
    default: Rules, address: str, network: str
) -> None:
    assert default.refusal(address) == f"addresses in {network} are not allowed"


CARRYING = {
    "mapped": "::ffff:{}",
    "compatible": "::{}",
    "translated": "::ffff:0:{}",
    "NAT64": "64:ff9b::{}",
    "NAT64 of a site": "64:ff9b:1::{}",
    "ISATAP": "2606:4700::5efe:{}",
    "ISATAP, unique": "2606:4700::200:5efe:{}",
}


@pytest.mark.parametrize("form", CARRYING.values(), ids=CARRYING.keys())
def test_rules_check_the_embedded_address_when_an_address_embeds_another(
    default: Rules, form: str
) -> None:
    assert default.refusal(form.format("169.254.169.254")) == METADATA
    assert default.refusal(form.format("8.8.8.8")) is None


@pytest.mark.parametrize(
    "address",
    [
        "2002:a9fe:a9fe::1",  # 6to4
        "2001:0:a9fe:a9fe::1",  # Teredo, the server
        f"2001:0:808:808:0:ffff:{0xA9FE ^ 0xFFFF:x}:{0xA9FE ^ 0xFFFF:x}",  # Teredo, the client
    ],
)
def test_rules_check_the_embedded_address_when_an_address_is_of_a_tunnel(
    default: Rules, address: str
) -> None:
    assert default.refusal(address) == METADATA


# What strict refuses


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.0.1", "127.0.0.1", "169.254.1.1", "0.0.0.0"),  # noqa: S104
        *("100.64.0.1", "100.127.255.255", "192.0.0.9", "192.0.2.1", "198.51.100.1", "203.0.113.1"),
        *("198.18.0.1", "198.19.255.255", "192.88.99.1", "224.0.0.1", "239.255.255.250"),
        *("240.0.0.1", "255.255.255.255", "2002:808:808::1"),
        *("::", "::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1", "ff0e::1"),
        *("2001:db8::1", "3fff::1", "2001::1", "2001:2::1", "2001:20::1", "100::1", "5f00::1"),
        *("::ffff:10.0.0.1", "::10.0.0.1", "::8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8"),
        *("2002:a00:1::1", "2002:7f00:1::", "2606:4700::5efe:10.0.0.1", "4000::1"),
    ],
)
def test_strict_rules_refuse_when_an_address_is_not_public(address: str) -> None:
    assert STRICT.refusal(address) == NOT_PUBLIC


@pytest.mark.parametrize(
    "address",
    [
        *("8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.32.0.1", "223.255.255.254"),
        *("2606:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "::ffff:8.8.8.8"),
        "64:ff9b::8.8.8.8",
    ],
)
def test_strict_rules_permit_when_an_address_is_public(address: str) -> None:
    assert STRICT.refusal(address) is None


@given(st.ip_addresses())
@example(IPv6Address("fe80::1"))
@example(IPv4Address("100.64.0.1"))
def test_strict_rules_refuse_when_python_calls_an_address_private(
    address: IPv4Address | IPv6Address,
) -> None:
    mapped = address.version == 6 and address.ipv4_mapped is not None
    if not mapped and (not address.is_global or address.is_multicast):
        assert STRICT.refusal(address) == NOT_PUBLIC


def test_strict_rules_permit_https_only() -> None:
    assert STRICT.refusal_of_scheme("https") is None
    assert STRICT.refusal_of_scheme("http") == "only https is allowed"
    assert NO_RULES.refusal_of_scheme("http") is None


# Exceptions, and other rules


def test_allow_overrides_deny_and_strict() -> None:
    rules = Rules(networks("10.1.0.0/16"), networks("10.0.0.0/8"), strict=True)
    assert rules.refusal("10.1.2.3") is None
    assert rules.refusal("::ffff:10.1.2.3") is None
    assert rules.refusal("10.2.2.3") == "addresses in 10.0.0.0/8 are not allowed"
    assert rules.refusal("192.168.1.1") == NOT_PUBLIC
    assert rules.refusal_of_scheme("http") == "only https is allowed"


def test_only_listed_addresses_are_permitted_when_everything_is_denied() -> None:
    rules = Rules(networks("10.1.0.0/16"), networks("0.0.0.0/0", "::/0"))
    assert rules.refusal("10.1.2.3") is None
    for address in ("10.2.0.1", "8.8.8.8", "2606:4700::1111", "64:ff9b::10.1.2.3"):
        assert rules.refusal(address) == "only addresses that the operator has listed are allowed"


def test_network_of_mapped_addresses_counts_as_its_ipv4_network() -> None:
    rules = Rules(deny=networks("::ffff:10.0.0.0/104"))
    assert rules.refusal("10.0.0.1") == rules.refusal("::ffff:10.0.0.1")
    assert rules.refusal("10.0.0.1") is not None
    assert rules.refusal("11.0.0.1") is None


def test_rules_refuse_when_the_text_is_not_an_address() -> None:
    assert Rules().refusal("/run/socket") == "only IPv4 and IPv6 addresses are allowed"


@pytest.mark.parametrize(
    ("rules", "any_refused"),
    [
        (NO_RULES, False),
        (Rules(allow=networks("10.0.0.0/8")), False),
        (Rules(deny=networks("10.0.0.0/8")), True),
        (STRICT, True),
    ],
)
def test_rules_tell_whether_they_refuse_any_address(rules: Rules, any_refused: bool) -> None:
    assert rules.refuse_addresses is any_refused


@given(st.ip_addresses(), st.booleans())
def test_refusal_never_repeats_the_address(
    address: IPv4Address | IPv6Address, strict: bool
) -> None:
    rules = Rules(deny=networks("0.0.0.0/1", "::/1"), strict=strict)
    words = re.split("[ /]", rules.refusal(address) or "")
    assert str(address) not in words or int(address) == 0  # which a network's name begins with


@given(st.ip_addresses(v=4))
def test_mapped_address_is_treated_as_its_ipv4_address(address: IPv4Address) -> None:
    mapped = IPv6Address(f"::ffff:{address}")
    for rules in (
        STRICT,
        Rules(deny=networks("0.0.0.0/1")),
        replace(STRICT, deny=networks("::/0")),
    ):
        assert rules.refusal(mapped) == rules.refusal(address)


# The examples of the page

PAGE = Path(__file__).parents[3] / "docs" / "networks.rst"
EXAMPLE = re.compile(r":caption: (?P<name>.+)\.ini\n\n(?P<text>(?:   .+\n|\n(?=   ))+)")
# Of each example, what it permits and what it does not.
MEANT = {
    "public": (["8.8.8.8"], ["10.20.0.1", "127.0.0.1", "169.254.169.254", "fd00::1"]),
    "public-and-own": (["8.8.8.8", "10.20.0.1"], ["10.21.0.1", "127.0.0.1", "169.254.169.254"]),
    "one-network": (["10.20.0.1"], ["8.8.8.8", "10.21.0.1", "127.0.0.1", "2606:4700::1111"]),
    "not-here": (["8.8.8.8", "10.20.0.1"], ["127.0.0.1", "::1", "10.99.1.1", "169.254.169.254"]),
}


def examples() -> dict[str, str]:
    found = EXAMPLE.finditer(PAGE.read_text(encoding="utf-8"))
    return {each["name"]: dedent(each["text"]) for each in found}


def configured(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Rules:
    (folder / "config.ini").write_text(text, encoding="utf-8")
    monkeypatch.setenv("NOTIFICATIONS_CONFIG", str(folder / "config.ini"))
    return delivery_rules(load_settings().delivery)


@pytest.mark.parametrize("name", MEANT)
def test_example_of_the_page_means_what_the_page_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = configured(examples()[name], tmp_path, monkeypatch)
    permitted, refused = MEANT[name]
    assert [each for each in permitted if rules.refusal(each) is not None] == []
    assert [each for each in refused if rules.refusal(each) is None] == []
    assert (rules.refusal_of_scheme("http") is not None) == name.startswith("public")


def test_page_repeats_the_default_where_it_says_so(
    default: Rules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert examples().keys() == MEANT.keys()
    repeating = configured(examples()["not-here"], tmp_path, monkeypatch)
    own = {*networks("127.0.0.0/8", "::1", "10.99.0.0/16")}
    assert {*repeating.deny} == {*default.deny} | own


# Hosts that are addresses


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0x7F000001", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("127.0x0.00.1", "127.0.0.1"),
        ("0", "0.0.0.0"),  # noqa: S104
        ("4294967295", "255.255.255.255"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]", "fe80::1"),
    ],
)
def test_literal_address_is_the_address_that_a_host_spells_out(host: str, address: str) -> None:
    assert literal_address(host) == ip_address(address)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "",
            ".",
            "localhost",
            "127.0.0.1.example",
            "4294967296",
            "256.1.1.1",
            "1.2.3.256",
            "1..2",
        ),
        *(
            "127.0.0.1..",
            "1.2.3.4.5",
            "08.1.1.1",
            "0x",
            "0xg",
            "1.16777216",
            "-1",
            "+1",
            " 1",
            "1 ",
        ),
        *("[127.0.0.1", "[v1.a]", "::g", "1:2", "\u0661", "1e3", "1_0", "9" * 5000),
    ],
)
def test_literal_address_is_none_when_a_host_is_a_name(host: str) -> None:
    assert literal_address(host) is None


@given(st.text(alphabet="0123456789abcdefxX.", max_size=16))
@example("0x7f.1")
@example("1.2.65535")
@example("00000000000000000000001")
def test_literal_address_agrees_with_the_system_about_ipv4_addresses(host: str) -> None:
    try:
        system = IPv4Address(socket.inet_aton(host))
    except OSError:
        system = None
    if not host.endswith("."):
        assert literal_address(host) == system


@given(st.ip_addresses())
def test_literal_address_reads_an_address_that_was_printed(
    address: IPv4Address | IPv6Address,
) -> None:
    assert literal_address(str(address)) == address
    assert isinstance(address, IPv4Address) or literal_address(f"[{address}]") == address


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_rules_refuse_exactly_the_network_that_is_denied(address: IPv4Address, bits: int) -> None:
    network = IPv4Network((address, bits), strict=False)
    rules = Rules(deny=(network,))
    assert rules.refusal(network[0]) is not None
    assert rules.refusal(network[-1]) is not None
    after = int(network[-1]) + 1
    if after < 2**32:
        assert rules.refusal(IPv4Address(after)) is None


@given(st.ip_addresses(v=6), st.integers(0, 128))
def test_rules_refuse_exactly_the_network_that_is_denied_when_it_is_of_ipv6(
    address: IPv6Address, bits: int
) -> None:
    assume(address.ipv4_mapped is None)
    network = IPv6Network((address, bits), strict=False)
    after = int(network[-1]) + 1
    assert Rules(deny=(network,)).refusal(address) is not None
    if after < 2**128:
        assert Rules(deny=(network,)).refusal(IPv6Address(after)) is None
