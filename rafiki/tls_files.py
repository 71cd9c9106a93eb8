"""The files that settings name for TLS: authorities, certificates and keys, relative to the folder of rafiki.yaml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from rafiki.config import LoadedConfig
from rafiki.errors import ConfigError
from rafiki.messages import CacheTls
from rafiki.utils.addresses import is_loopback
from rafiki.utils.certificates import CertificateError, CertificateFiles, read_authority, read_pair
from rafiki.utils.paths import expand

T = TypeVar("T")


class TlsFiles:
    """Those of one configuration. What is wrong with one is said with the setting that names it."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self._config = loaded.config
        self._base = loaded.base_folder
        self._origins = {o.key: o.origin for o in loaded.origins}

    def cache(self) -> CacheTls | None:
        """What TLS to the server of ``cache.url`` is spoken with; None = as this machine does it.

        Raises:
            ConfigError: a file cannot be used, or nobody speaks TLS.
        """
        settings = self._config.cache
        authorities = self._authority("cache.ca", settings.ca)
        pair = self._pair("cache", settings.certificate, settings.key)
        if authorities is None and pair is None:
            return None
        if not (settings.url or "").startswith("rediss://"):
            named = "cache.ca" if authorities is not None else "cache.certificate"
            raise ConfigError(
                f"{self._where(named)} is of no use: cache.url names no rediss:// server. Write rediss:// there, or "
                f"leave {named} out."
            )
        return CacheTls(
            authorities=authorities[1] if authorities else None,
            certificate=pair and pair[1][0],
            key=pair and pair[1][1],
        )

    def server(self) -> CertificateFiles | None:
        """What the admin and predictors show; None = they speak no TLS.

        Raises:
            ConfigError: a file cannot be used, or they would be reached from other machines without TLS.
        """
        settings = self._config.tls
        pair = self._pair("tls", settings.certificate, settings.key)
        if pair is not None:
            return CertificateFiles(certificate=str(pair[0][0]), key=str(pair[0][1]))
        for key, host in (("admin.host", self._config.admin.host), ("predictor.host", self._config.predictor.host)):
            if not settings.insecure and not is_loopback(host):
                raise ConfigError(
                    f"{self._where(key)} is {host}, which other machines reach, without TLS: passwords, tokens and "
                    "queries could be read on the way. Name a certificate with tls.certificate and tls.key; where a "
                    "proxy speaks TLS, or to have it so all the same, set tls.insecure: true."
                )
        return None

    def meta_store_url(self, url: str) -> str:
        """``meta_store.url`` with the files that ``meta_store.ca`` and its like name, as libpq takes them. A server
        whose authority is named has to prove its name, unless the URL says otherwise.

        Raises:
            ConfigError: a file cannot be used, is named twice, or nobody speaks TLS.
        """
        settings = self._config.meta_store
        authorities = self._authority("meta_store.ca", settings.ca)
        pair = self._pair("meta_store", settings.certificate, settings.key)
        if authorities is None and pair is None:
            return url
        named = "meta_store.ca" if authorities is not None else "meta_store.certificate"
        if not url.startswith("postgres"):
            raise ConfigError(
                f"{self._where(named)} is of no use: meta_store.url names no PostgreSQL. Leave {named} out."
            )
        asked = dict(parse_qsl(urlsplit(url).query))
        made: dict[str, str] = {}
        if authorities is not None:
            made |= {"sslrootcert": str(authorities[0])}
        if pair is not None:
            made |= {"sslcert": str(pair[0][0]), "sslkey": str(pair[0][1])}
        if twice := [name for name in made if name in asked]:
            raise ConfigError(f"{self._where(named)}: meta_store.url names {twice[0]}, too. Leave one of them out.")
        if "sslmode" not in asked:
            made["sslmode"] = "verify-full" if authorities is not None else "require"
        return f"{url}{'&' if '?' in url else '?'}{urlencode(made)}"

    def _where(self, key: str) -> str:
        return f"{self._origins.get(key, 'default')}: {key}"

    def _path(self, key: str, setting: str) -> Path:
        try:
            return expand(self._base, setting)
        except ValueError as e:
            raise ConfigError(f"{self._where(key)} = {setting!r}: {e}. Name a PEM file.") from e

    def _checked(self, key: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except CertificateError as e:
            raise ConfigError(f"{self._where(key)}: {e}.") from e

    def _authority(self, key: str, setting: str | None) -> tuple[Path, str] | None:
        if setting is None:
            return None
        file = self._path(key, setting)
        return file, self._checked(key, lambda: read_authority(file))

    def _pair(
        self, section: str, certificate: str | None, key: str | None
    ) -> tuple[tuple[Path, Path], tuple[str, str]] | None:
        """The files of a certificate and its key, and their texts."""
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            given, missing = ("key", "certificate") if certificate is None else ("certificate", "key")
            raise ConfigError(
                f"{self._where(f'{section}.{given}')} is set, but {section}.{missing} is not: both belong together. "
                "Name the file with a certificate and that with its private key."
            )
        files = self._path(f"{section}.certificate", certificate), self._path(f"{section}.key", key)
        return files, self._checked(f"{section}.certificate", lambda: read_pair(*files))
