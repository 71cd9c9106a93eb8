"""The address by which services on other hosts reach this machine, and whether they speak TLS to it."""

from __future__ import annotations

import logging
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import msgspec

from rafiki.errors import ConfigError
from rafiki.settings import Config
from rafiki.utils.addresses import EVERYWHERE, find_public, is_loopback
from rafiki.utils.sockets import can_listen

_logger = logging.getLogger(__name__)
_INSECURE = "to have it without all the same, set cluster.insecure: true"
_SSL_MODES = {"require": "that it is encrypted", "verify-ca": "who signed its certificate"}
"""Modes of libpq that leave something unchecked, and what they check; the others but verify-full speak TLS at most by
chance."""


class Advertised(msgspec.Struct, frozen=True, kw_only=True):
    """Where services come in."""

    host: str
    is_tls: bool

    @property
    def is_elsewhere(self) -> bool:
        """Whether other hosts reach it."""
        return not is_loopback(self.host)


def advertise(config: Config) -> Advertised:
    """``cluster.advertise_host``, or the loopback.

    Raises:
        ConfigError: it is no address of this machine, or it is in no private network and nobody speaks TLS.
    """
    host = config.cluster.advertise_host
    if host is None:
        return Advertised(host=config.admin.host if is_loopback(config.admin.host) else "127.0.0.1", is_tls=False)
    if host in EVERYWHERE:
        raise ConfigError(
            f"cluster.advertise_host is {host}, which is no address that others can go to. Name the one that this "
            "machine has in the network of the other hosts."
        )
    if not can_listen(host):
        raise ConfigError(
            f"cluster.advertise_host is {host}, which is no address of this machine: its services could not listen "
            "there. `ip address` lists those that it has."
        )
    if is_loopback(host):
        return Advertised(host=host, is_tls=False)
    public = find_public(host)
    is_tls = config.cluster.tls if config.cluster.tls is not None else public is not None
    if public is not None and not is_tls and not config.cluster.insecure:
        raise ConfigError(
            f"cluster.advertise_host is {host}, which is in no private network, and cluster.tls is false: tokens, data "
            "and parameters could be read on the way. Leave cluster.tls out, or name an address of a private network "
            f"(10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, fc00::/7, an overlay such as WireGuard); {_INSECURE}."
        )
    if public is not None and not is_tls:
        _logger.warning(
            "Services on other hosts reach %s without TLS, as cluster.insecure says, and it is in no private network.",
            host,
        )
    return Advertised(host=host, is_tls=is_tls)


def check_ways_out(config: Config) -> None:
    """Refuse a database, a cache or a store of others at a public address that is spoken to without TLS.

    Raises:
        ConfigError: naming the setting, and what to write.
    """
    if config.cluster.insecure:
        return
    if (url := config.cache.url) is not None and not url.startswith("rediss://"):
        _refuse_public("cache.url", [_host_of(url)], "Write rediss://, with cache.ca for your own authority")
    if (url := config.meta_store.url) is not None and url.startswith("postgres"):
        _check_postgres(config, url)
    for name in ("datasets", "params"):
        if (url := getattr(config.stores, name)) is not None:
            endpoints = parse_qs(url.partition("?")[2]).get("endpoint", [])
            plain = [_host_of(e) for e in [*endpoints, url] if e.startswith("http://")]
            _refuse_public(f"stores.{name}", plain, "Write https:// there")


def _check_postgres(config: Config, url: str) -> None:
    asked = parse_qsl(url.partition("?")[2])
    mode = dict(asked).get("sslmode", "verify-full" if config.meta_store.ca else "prefer")
    hosts = [_host_of(url), *(v.rpartition(":")[0] or v for k, v in asked if k == "host")]
    if mode == "verify-full":
        return
    if mode not in _SSL_MODES:
        _refuse_public("meta_store.url", hosts, "Add ?sslmode=verify-full, with meta_store.ca for its authority")
    elif any(host and find_public(unquote(host)) for host in hosts):
        _logger.warning(
            "meta_store.url: sslmode=%s checks %s, and not who answers: whoever is on the way can be in its place. "
            "Write verify-full, with meta_store.ca.", mode, _SSL_MODES[mode],
        )  # fmt: skip


def _host_of(url: str) -> str | None:
    """None where the URL is of no form: whoever opens it says so."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _refuse_public(key: str, hosts: list[str | None], advice: str) -> None:
    for host in hosts:
        # A path is a socket of this machine.
        if host and not host.startswith("/") and (public := find_public(host)):
            where = host if public == host else f"{host} ({public})"
            raise ConfigError(
                f"{key} leads to {where}, which is in no private network, without TLS: passwords and data could be "
                f"read on the way. {advice}; {_INSECURE}."
            )
