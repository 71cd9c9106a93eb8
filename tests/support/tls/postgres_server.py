"""A PostgreSQL server that takes connections over TLS alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stores.postgres_server import PostgresUnavailableError, PrivateServer
from support.tls.authority import Pair, speaks_tls

_SSL = {"ssl": "on", "ssl_cert_file": "server.pem", "ssl_key_file": "server.key"}


class TlsPostgres(PrivateServer):
    """One server of a test. Its certificate can be exchanged, and its host be asked for another name."""

    def __init__(self, pair: Pair, *, clients: Path | None = None, host: str = "127.0.0.1") -> None:
        """
        Args:
            clients: the authority whose certificates clients have to show; None = they need none.
            host: another address of this machine that it listens at.
        """
        super().__init__()
        self.host = host
        settings = {**_SSL, "listen_addresses": f"127.0.0.1,{host}" if host != "127.0.0.1" else host}
        if clients is not None:
            self._put(clients, "clients.pem")
            settings["ssl_ca_file"] = "clients.pem"
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        wants = " clientcert=verify-ca" if clients is not None else ""
        # The test itself comes in without TLS over the socket of the folder alone.
        (self._data / "pg_hba.conf").write_text(
            f"local all all scram-sha-256\nhostssl all all all scram-sha-256{wants}\n"
        )
        self._base_url = self._url = f"{self._url}?host={self._folder}"
        self.show(pair)

    @property
    def own_url(self) -> str:
        """How the test itself comes in: without TLS, as superuser."""
        return self._url

    @property
    def port(self) -> int:
        return int(self._url.partition("@")[2].partition(":")[2].partition("/")[0])

    def show(self, pair: Pair) -> None:
        """Restart it with another certificate."""
        self._put(pair.certificate, "server.pem")
        self._put(pair.key, "server.key")
        self.restart()

    def set(self, name: str, value: str) -> None:
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"{name} = '{value}'\n")
        self.restart()

    def restart(self) -> None:
        """As a failover does to those who are connected."""
        self._control("restart", "-m", "immediate")

    def tls_url(self, database: str, **query: str) -> str:
        asked = "".join(f"{'&' if i else '?'}{k}={v}" for i, (k, v) in enumerate(query.items()))
        return f"postgresql://rafiki:pass%3Aword%2F1@{self.host}:{self.port}/{database}{asked}"

    def _put(self, file: Path, name: str) -> None:
        there = self._data / name
        there.unlink(missing_ok=True)
        shutil.copy(file, there)
        there.chmod(0o600)
        if self._account:
            shutil.chown(there, self._account["user"], self._account["group"])

    def _find_binaries(self) -> Path:
        for folder in _folders():
            program = folder / "postgres"
            if program.exists() and speaks_tls(program.resolve()):
                return folder
        raise PostgresUnavailableError("No PostgreSQL here speaks TLS: apt-get install postgresql")


def _folders() -> Iterator[Path]:
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def open_tls_server(pair: Pair, *, clients: Path | None = None, host: str = "127.0.0.1") -> TlsPostgres:
    """Skips the test where there is none, and fails it in CI."""
    try:
        return TlsPostgres(pair, clients=clients, host=host)
    except PostgresUnavailableError as e:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(str(e))
        pytest.skip(str(e))
