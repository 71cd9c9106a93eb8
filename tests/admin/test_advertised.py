"""The address by which other hosts reach this machine."""

from __future__ import annotations

import pytest

from rafiki.admin.advertised import cache_hosts, get_advertised_host
from rafiki.errors import ConfigError
from rafiki.settings import AdminConfig, ClusterConfig, Config


def config(advertise_host: str | None, host: str = "127.0.0.1") -> Config:
    return Config(admin=AdminConfig(host=host), cluster=ClusterConfig(advertise_host=advertise_host))


def test_without_one_it_is_the_admins_and_the_cache_stays_on_the_loopback() -> None:
    assert get_advertised_host(config(None)) == "127.0.0.1"
    assert cache_hosts(config(None)) == cache_hosts(config("127.0.0.1")) == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "203.0.113.7", "no.such.host.invalid"])
def test_an_address_that_others_cannot_use_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.advertise_host is "):
        get_advertised_host(config(host))


def test_an_admin_that_does_not_listen_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rafiki.admin.advertised.can_listen", lambda host: True)
    with pytest.raises(ConfigError, match=r"the admin listens on 127\.0\.0\.1 alone\. Set admin\.host"):
        get_advertised_host(config("10.0.0.1"))
    for listens in ("10.0.0.1", "0.0.0.0"):
        assert get_advertised_host(config("10.0.0.1", listens)) == "10.0.0.1"
    assert cache_hosts(config("10.0.0.1")) == ["10.0.0.1"]
