"""Which addresses are those of machines anywhere, and which lead into this machine or a network that is not public."""

from __future__ import annotations

import ipaddress
import socket

# IANA's registries of special-purpose addresses, written out: what ipaddress takes for global differs between versions
# of Python.
_SPECIAL_V4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # private, RFC 1918
        "100.64.0.0/10",  # carriers' own, RFC 6598
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, where clouds keep the credentials of their machines
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # documentation
        "192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24",  # AS112, AMT
        "192.88.99.0/24",  # relays of 6to4
        "198.18.0.0/15",  # benchmarks
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]  # fmt: skip
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_V6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32", "3fff::/20",  # documentation
        "2620:4f:8000::/48",  # AS112
    )
]  # fmt: skip
_SIXTOFOUR = ipaddress.IPv6Network("2002::/16")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)
"""The upper half of an interface identifier that ends with an IPv4 address, RFC 5214."""


def is_numeric(host: str) -> bool:
    """Whether a host is an address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether a numeric address is of the public internet, and so is each IPv4 address that it embeds."""
    if "%" in address:
        return False  # A zone: it means something on a link of this machine alone.
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return _is_public_v4(ip) if isinstance(ip, ipaddress.IPv4Address) else _is_public_v6(ip)


def _is_public_v4(ip: ipaddress.IPv4Address) -> bool:
    return not any(ip in network for network in _SPECIAL_V4)


def _is_public_v6(ip: ipaddress.IPv6Address) -> bool:
    embedded = _embedded(ip)
    if embedded is not None and not _is_public_v4(embedded):
        return False
    if ip.ipv4_mapped is not None or ip in _NAT64:
        return True
    return ip in _GLOBAL_V6 and not any(ip in network for network in _SPECIAL_V6)


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which a gateway, a tunnel or the kernel would pass on what is sent to this one."""
    number = int(ip)
    if ip.ipv4_mapped is not None or ip in _NAT64 or (number >> 32 & 0xFFFFFFFF) in _ISATAP:
        return ipaddress.IPv4Address(number & 0xFFFFFFFF)
    if ip in _SIXTOFOUR:
        return ipaddress.IPv4Address(number >> 80 & 0xFFFFFFFF)
    return None


def is_own(address: str) -> bool:
    """Whether a numeric address is one of this machine: it would then be the source of what is sent to it.

    Nothing is sent to find out.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False  # There is no way to it.
        return str(probe.getsockname()[0]) == address
