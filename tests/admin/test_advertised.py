"""The address by which other hosts reach this machine, and what may be spoken to without TLS."""

from __future__ import annotations

from typing import Any

import pytest

from rafiki.admin.advertised import Advertised, advertise, check_ways_out
from rafiki.errors import ConfigError
from rafiki.settings import CacheConfig, ClusterConfig, Config, MetaStoreConfig, StoresConfig
from rafiki.utils import addresses

PUBLIC = "203.0.113.7"


def config(advertise_host: str | None, **cluster: Any) -> Config:
    return Config(cluster=ClusterConfig(advertise_host=advertise_host, **cluster))


@pytest.fixture
def _is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rafiki.admin.advertised.can_listen", lambda host: True)


def test_without_one_services_come_in_by_the_loopback() -> None:
    assert advertise(config(None)) == Advertised(host="127.0.0.1", is_tls=False)
    assert not advertise(config("127.0.0.1")).is_elsewhere


@pytest.mark.parametrize("host", ["0.0.0.0", "::", PUBLIC, "no.such.host.invalid"])
def test_an_address_that_others_cannot_use_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.advertise_host is "):
        advertise(config(host))


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "172.31.255.1", "192.168.3.4", "169.254.1.1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"],
)
@pytest.mark.usefixtures("_is_here")
def test_in_a_private_network_tls_is_a_matter_of_choice(host: str) -> None:
    assert advertise(config(host)) == Advertised(host=host, is_tls=False)
    assert advertise(config(host, tls=True)).is_tls


@pytest.mark.parametrize("host", [PUBLIC, "8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "::ffff:8.8.8.8"])
@pytest.mark.usefixtures("_is_here")
def test_elsewhere_it_is_spoken_unless_somebody_says_otherwise(host: str) -> None:
    assert advertise(config(host)).is_tls
    with pytest.raises(ConfigError, match=r"no private network.*cluster\.tls is false.*cluster\.insecure: true"):
        advertise(config(host, tls=False))
    assert not advertise(config(host, tls=False, insecure=True)).is_tls


@pytest.mark.usefixtures("_is_here")
def test_an_address_on_an_overlay_is_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    class Address:
        address = "100.64.0.1"

    import psutil

    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"wg7": [Address], "eth0": []})
    monkeypatch.setattr(addresses, "_INTERFACES", tmp_path)
    assert advertise(config("100.64.0.1")).is_tls
    (tmp_path / "wg7").mkdir()
    (tmp_path / "wg7" / "uevent").write_text("INTERFACE=wg7\nDEVTYPE=wireguard\n")
    assert not advertise(config("100.64.0.1")).is_tls
    (tmp_path / "wg7" / "uevent").write_text("DEVTYPE=wlan\n")
    assert advertise(config("100.64.0.1")).is_tls
    (tmp_path / "wg7" / "tun_flags").write_text("0x1001\n")
    assert not advertise(config("100.64.0.1")).is_tls


def ways(*, url: str | None = None, cache: str | None = None, insecure: bool = False, ca: str | None = None,
         params: str | None = None) -> Config:  # fmt: skip
    return Config(
        meta_store=MetaStoreConfig(url=url, ca=ca), cache=CacheConfig(url=cache), stores=StoresConfig(params=params),
        cluster=ClusterConfig(insecure=insecure),
    )  # fmt: skip


@pytest.mark.parametrize(
    "made",
    [
        {"cache": f"redis://:secret@{PUBLIC}:6379"},
        {"url": f"postgresql://rafiki:secret@{PUBLIC}/db"},
        {"url": f"postgresql+psycopg2://rafiki:secret@{PUBLIC}/db?sslmode=prefer"},
        {"url": f"postgresql://rafiki:secret@10.0.0.1/db?host=10.0.0.1:5432&host={PUBLIC}:5432&sslmode=disable"},
        {"url": "postgresql://rafiki:secret@[2001:db8::1]/db?sslmode=allow"},
        {"params": f"s3://bucket/params?endpoint=http://{PUBLIC}:9000"},
    ],
)
def test_a_server_of_others_at_a_public_address_is_refused_without_tls(made: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"no private network, without TLS.*cluster\.insecure: true") as refused:
        check_ways_out(ways(**made))  # type: ignore[arg-type]
    assert "secret" not in refused.value.message
    check_ways_out(ways(**made, insecure=True))  # type: ignore[arg-type]


def test_with_tls_or_in_a_private_network_it_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    check_ways_out(ways(cache=f"rediss://{PUBLIC}", url=f"postgresql://{PUBLIC}/db?sslmode=verify-full"))
    check_ways_out(ways(cache="redis://10.0.0.1", url="postgresql://192.168.1.1/db"))
    check_ways_out(ways(cache="redis://localhost", url=f"postgresql://{PUBLIC}/db", ca="ca.pem"))
    check_ways_out(ways(cache="redis://no.such.host.invalid", url="postgresql:///db?host=/run/postgresql"))
    check_ways_out(ways(params=f"s3://bucket/params?endpoint=https://{PUBLIC}:9000"))
    check_ways_out(ways(url="postgresql://10.0.0.1/db?sslmode=require"))
    assert not caplog.text
    check_ways_out(ways(url=f"postgresql://{PUBLIC}/db?sslmode=require"))
    assert "sslmode=require checks that it is encrypted, and not who answers" in caplog.text
