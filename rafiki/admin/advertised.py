"""The address by which services on other hosts reach this machine."""

from __future__ import annotations

import ipaddress

from rafiki.errors import ConfigError
from rafiki.settings import Config
from rafiki.utils.sockets import can_listen

_EVERYWHERE = frozenset({"0.0.0.0", "::"})


def get_advertised_host(config: Config) -> str:
    """``cluster.advertise_host``, or where the admin listens.

    Raises:
        ConfigError: it is no address of this machine, or the admin does not listen there.
    """
    host, listens = config.cluster.advertise_host, config.admin.host
    if host is None:
        return listens
    if host in _EVERYWHERE:
        raise ConfigError(
            f"cluster.advertise_host is {host}, which is no address that others can go to. Name the one that this "
            "machine has in the network of the other hosts."
        )
    if not can_listen(host):
        raise ConfigError(
            f"cluster.advertise_host is {host}, which is no address of this machine: its services could not listen "
            "there. `ip address` lists those that it has."
        )
    if not is_loopback(host) and listens not in _EVERYWHERE and listens != host:
        raise ConfigError(
            f"cluster.advertise_host is {host}, but the admin listens on {listens} alone. Set admin.host in "
            f"rafiki.yaml to {host}, or to 0.0.0.0."
        )
    return host


def cache_hosts(config: Config) -> list[str]:
    """Where the private cache listens besides the loopback: where other hosts are told that it is."""
    host = config.cluster.advertise_host
    return [] if host is None or is_loopback(host) else [host]


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
