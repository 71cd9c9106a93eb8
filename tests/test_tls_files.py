"""Files for TLS that settings name: what is wrong with one is said with the setting, the file and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.tls.authority import Authority

from rafiki.client.trust import Trust, of_settings
from rafiki.config import load_config
from rafiki.errors import ConfigError
from rafiki.stack_folder import StackFolder

REDIS, POSTGRES = "rediss://h", "postgresql://h/db"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path)
    made.issue("good")
    made.issue("old", days=-1)
    made.issue("locked", password="secret")
    (tmp_path / "text.pem").write_text("no certificate")
    (tmp_path / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    (tmp_path / "binary.pem").write_bytes(b"\x30\x82\xff\x00")
    (tmp_path / "folder.pem").mkdir()
    return made


def folder_of(base: Path, section: str, **settings: str) -> StackFolder:
    lines = "".join(f"  {name}: {value}\n" for name, value in settings.items())
    (base / "rafiki.yaml").write_text(f"{section}:\n{lines}")
    return StackFolder(load_config(base / "rafiki.yaml", environ={}))


def read(base: Path, section: str, **settings: str) -> None:
    folder = folder_of(base, section, **settings)
    _ = folder.tls.cache() if section == "cache" else folder.meta_store_url


def test_the_texts_travel_to_the_cache_and_the_paths_to_the_database(authority: Authority, tmp_path: Path) -> None:
    named = {"ca": "authority.pem", "certificate": "good.pem", "key": "good.key"}
    tls = folder_of(tmp_path, "cache", url=REDIS, **named).tls.cache()
    assert tls is not None
    assert (tls.authorities, tls.key) == (authority.file.read_text(), (tmp_path / "good.key").read_text())
    url = folder_of(tmp_path, "meta_store", url=POSTGRES, **named).meta_store_url
    assert url.endswith("&sslmode=verify-full")
    assert str(tmp_path).replace("/", "%2F") in url
    asked = f"{POSTGRES}?sslmode=verify-ca"
    assert folder_of(tmp_path, "meta_store", url=asked, ca="authority.pem").meta_store_url.count("sslmode") == 1
    assert folder_of(tmp_path, "cache", url=REDIS).tls.cache() is None
    assert folder_of(tmp_path, "meta_store", url=POSTGRES).meta_store_url == POSTGRES


@pytest.mark.parametrize(("section", "url"), [("cache", REDIS), ("meta_store", POSTGRES)])
@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"ca": "nowhere.pem"}, "it is not there"),
        ({"ca": "folder.pem"}, "it is a folder"),
        ({"ca": "text.pem"}, "is no PEM file"),
        ({"ca": "binary.pem"}, "is no PEM file"),
        ({"ca": "broken.pem"}, "no certificate that can be read"),
        ({"ca": "old.pem"}, "expired on "),
        ({"certificate": "good.pem"}, r"key is not: both belong together"),
        ({"key": "good.key"}, r"certificate is not: both belong together"),
        ({"certificate": "good.pem", "key": "old.key"}, "is not the key of the certificate in "),
        ({"certificate": "good.pem", "key": "nowhere.key"}, "it is not there"),
        ({"certificate": "old.pem", "key": "old.key"}, "expired on "),
        ({"certificate": "locked.pem", "key": "locked.key"}, "is encrypted.*openssl pkey"),
        ({"certificate": "good.key", "key": "good.pem"}, "no certificate that can be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    authority: Authority, tmp_path: Path, section: str, url: str, settings: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError, match=rf"rafiki\.yaml.*{section}\.\w+.*{told}"):
        read(tmp_path, section, url=url, **settings)


@pytest.mark.skipif(os.getuid() == 0, reason="root reads every file")
def test_a_file_that_this_user_may_not_read_is_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "good.key").chmod(0)
    with pytest.raises(ConfigError, match="no permission"):
        read(tmp_path, "cache", url=REDIS, certificate="good.pem", key="good.key")


@pytest.mark.parametrize(
    ("section", "settings", "told"),
    [
        ("cache", {"url": "redis://h", "ca": "authority.pem"}, r"Write rediss://"),
        ("cache", {"ca": "authority.pem"}, r"is of no use: cache\.url names no rediss:// server"),
        ("meta_store", {"ca": "authority.pem"}, r"is of no use: meta_store\.url names no PostgreSQL"),
        ("meta_store", {"url": f"{POSTGRES}?sslrootcert=x", "ca": "authority.pem"}, "names sslrootcert, too"),
    ],
)
def test_one_that_nobody_uses_is_refused(
    authority: Authority, tmp_path: Path, section: str, settings: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        read(tmp_path, section, **settings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "admin: {host: 0.0.0.0}",
            r"admin\.host is 0\.0\.0\.0, which other machines reach.*tls\.insecure",
        ),
        ("predictor: {host: 10.0.0.1}", r"predictor\.host is 10\.0\.0\.1, which other machines reach, without TLS"),
        ("tls: {certificate: nowhere.pem, key: good.key}", r"tls\.certificate: .*it is not there"),
        ("tls: {certificate: old.pem, key: old.key}", "expired on "),
        ("tls: {certificate: locked.pem, key: locked.key}", "is encrypted"),
        ("tls: {certificate: good.pem, key: old.key}", "is not the key of"),
        ("tls: {certificate: good.pem}", r"tls\.key is not: both belong together"),
    ],
)
def test_what_would_be_open_or_cannot_be_shown_is_refused(
    authority: Authority, tmp_path: Path, text: str, told: str
) -> None:
    (tmp_path / "rafiki.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        StackFolder(load_config(tmp_path / "rafiki.yaml", environ={})).tls.server()


@pytest.mark.parametrize(
    "text", ["{}", "admin: {host: localhost}", "admin: {host: 0.0.0.0}\ntls: {insecure: true}", "admin: {host: '::1'}"]
)
def test_on_the_loopback_or_when_told_nothing_is_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "rafiki.yaml").write_text(text)
    assert StackFolder(load_config(tmp_path / "rafiki.yaml", environ={})).tls.server() is None


def test_a_certificate_that_is_pinned_vouches_for_no_other(authority: Authority, tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_text((tmp_path / "good.pem").read_text() + authority.file.read_text())
    assert Trust(ca=str(chain)).context().cert_store_stats()["x509"] == 2
    assert Trust(pinned=str(chain)).context().cert_store_stats()["x509"] == 1


def test_a_project_may_name_whom_its_clients_trust(tmp_path: Path) -> None:
    (tmp_path / "rafiki.yaml").write_text("tls: {certificate: a.pem, key: a.key, ca: ca.pem}\n")
    loaded = load_config(tmp_path / "rafiki.yaml", environ={})
    assert of_settings(loaded, "h") == ("https://h", Trust(ca=str(tmp_path / "ca.pem")))
