"""Which addresses other machines reach, and which of these are those of a private network."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path

EVERYWHERE = frozenset({"0.0.0.0", "::"})
"""What a server binds to be reached at every address of its machine."""
_PRIVATE = [
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",  # RFC 1918
        "169.254.0.0/16", "fe80::/10",  # link-local
        "fc00::/7",  # unique local, RFC 4193
    )
]  # fmt: skip
_INTERFACES = Path("/sys/class/net")
_OVERLAYS = frozenset({"wireguard", "vxlan", "geneve"})
"""Kinds of interfaces, as Linux names them, whose other end is a member of the same network."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_ip(text: str) -> IpAddress | None:
    """The address that a text is; None for a name. An IPv4 address in the form of IPv6 is taken for what it is."""
    try:
        found = ipaddress.ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped if isinstance(mapped, ipaddress.IPv4Address) else found


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    ip = parse_ip(host)
    return host == "localhost" if ip is None else ip.is_loopback


def find_public(host: str) -> str | None:
    """The first address of a host that belongs to no private network; None when there is none, or none is known.

    An address of this machine on an overlay (WireGuard, VXLAN, a tun device) counts as private.
    """
    for ip in _addresses_of(host):
        if not (ip.is_loopback or any(ip in network for network in _PRIVATE) or _is_on_overlay(ip)):
            return str(ip)
    return None


def _addresses_of(host: str) -> list[IpAddress]:
    if (ip := parse_ip(host)) is not None:
        return [ip]
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ip for entry in found if (ip := parse_ip(str(entry[4][0]))) is not None]


def _is_on_overlay(ip: IpAddress) -> bool:
    import psutil

    return any(
        _is_overlay(name)
        for name, addresses in psutil.net_if_addrs().items()
        if any(parse_ip(address.address) == ip for address in addresses)
    )


def _is_overlay(interface: str) -> bool:
    folder = _INTERFACES / interface
    # Programs such as Tailscale and OpenVPN are at the other end of a tun device.
    if (folder / "tun_flags").exists():
        return True
    try:
        lines = (folder / "uevent").read_text().splitlines()
    except OSError:
        return False
    return any(line.removeprefix("DEVTYPE=") in _OVERLAYS for line in lines if line.startswith("DEVTYPE="))
