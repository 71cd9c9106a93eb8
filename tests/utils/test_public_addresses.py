"""Which addresses are public, whatever form they are written in."""

from __future__ import annotations

import ipaddress

import psutil
import pytest

from rafiki.utils.public_addresses import is_own, is_public

SPECIAL_V4 = {
    "unspecified": "0.0.0.0", "this network": "0.1.2.3", "private of 8 bits": "10.255.255.255",
    "carriers' own": "100.64.0.1", "the last of the carriers' own": "100.127.255.254", "loopback": "127.0.0.1",
    "another loopback": "127.255.1.2", "link-local, metadata of clouds": "169.254.169.254",
    "private of 12 bits": "172.31.255.1", "protocol assignments": "192.0.0.170", "documentation": "192.0.2.1",
    "documentation 2": "198.51.100.7", "documentation 3": "203.0.113.254", "relay of 6to4": "192.88.99.1",
    "private of 16 bits": "192.168.1.1", "benchmarks": "198.19.255.255", "multicast": "224.0.0.1",
    "scoped multicast": "239.255.255.250", "reserved": "240.0.0.1", "broadcast": "255.255.255.255",
}  # fmt: skip
PUBLIC_V4 = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "192.0.1.1", "198.20.0.1"]


def number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def v6(value: int) -> str:
    return str(ipaddress.IPv6Address(value))


EMBEDDINGS = {
    "mapped": lambda n: 0xFFFF << 32 | n,
    "NAT64": lambda n: 0x64FF9B << 96 | n,
    "6to4": lambda n: 0x2002 << 112 | n << 80 | 1,
    "ISATAP": lambda n: 0x2A00_1450 << 96 | 0x5EFE << 32 | n,
    "ISATAP of a public address": lambda n: 0x2A00_1450 << 96 | 0x0200_5EFE << 32 | n,
}
NEVER = {
    "compatible": lambda n: n,
    "translated (SIIT)": lambda n: 0xFFFF << 48 | n,
    "NAT64 of a local prefix": lambda n: 0x64FF9B_0001 << 80 | n,
    "Teredo": lambda n: 0x2001 << 112 | n << 64 | (n ^ 0xFFFFFFFF),
}


@pytest.mark.parametrize("address", SPECIAL_V4.values(), ids=list(SPECIAL_V4))
def test_an_ipv4_address_of_a_special_network_is_not_public_nor_is_what_embeds_it(address: str) -> None:
    assert not is_public(address)
    for embed in (*EMBEDDINGS.values(), *NEVER.values()):
        assert not is_public(v6(embed(number(address))))


@pytest.mark.parametrize("address", PUBLIC_V4)
def test_a_public_ipv4_address_is_public_and_so_is_what_only_leads_to_it(address: str) -> None:
    assert is_public(address)
    for name in ("mapped", "NAT64"):
        assert is_public(v6(EMBEDDINGS[name](number(address))))
    for embed in NEVER.values():
        assert not is_public(v6(embed(number(address))))


@pytest.mark.parametrize(
    "address",
    [
        "::", "::1", "fe80::1", "fe80::1%lo", "2a00:1450::1%eth0", "fec0::1", "fc00::1", "fd12:3456::1", "ff02::1",
        "ff0e::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1", "5f00::1",
        "64:ff9b:1::1", "4000::1", "example.org", "", "0x7f.1", "2130706433", "127.1", "0177.0.0.1",
    ],
)  # fmt: skip
def test_what_is_no_public_address_is_none(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["2a00:1450:4001:81b::200e", "2606:4700:4700::1111", "2001:4860:4860::8888"])
def test_a_global_ipv6_address_is_public(address: str) -> None:
    assert is_public(address)


def test_the_addresses_of_this_machine_are_known_as_its_own() -> None:
    mine = [a.address for found in psutil.net_if_addrs().values() for a in found if a.family.name == "AF_INET"]
    assert mine
    assert all(is_own(address) for address in mine)
    assert not is_own("192.0.2.1")
