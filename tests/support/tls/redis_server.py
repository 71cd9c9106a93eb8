"""A Redis or Valkey server that speaks TLS, as somebody else runs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.stacks.running_stack import eventually
from support.stores.own_cache import server_programs
from support.tls.authority import Pair, speaks_tls

from rafiki.cache.connection import connect
from rafiki.messages import CacheAddress, CacheTls
from rafiki.utils.sockets import any_free_port

USER, PASSWORD = "rafiki", "pass:word/1 of the cache"
RIGHTS = "~rafiki:* &* +@connection +acl +info +scan +mget +unlink +psubscribe +punsubscribe"
"""What docs/howto/cache-servers.md asks for."""


def find_tls_program() -> str:
    """The program of a server that speaks TLS; skips the test where there is none, and fails it in CI."""
    import os

    found = [path for path in server_programs().values() if speaks_tls(Path(path))]
    if not found:
        told = "No Redis or Valkey here speaks TLS: apt-get install redis-server"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(told)
        pytest.skip(told)
    return found[0]


class TlsRedis:
    """One server, which can be hurt. It listens at ``host``, with TLS unless ``pair`` is None."""

    def __init__(
        self, folder: Path, pair: Pair | None, *, authority: Path | None = None, host: str = "127.0.0.1",
        asks_clients: bool = False, has_password: bool = True, settings: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self.host, self.port = host, any_free_port(host)
        self._tls = CacheTls(authorities=authority.read_text() if authority else None) if pair else None
        port = {"port": str(self.port)} if pair is None else {
            "port": "0", "tls-port": str(self.port), "tls-cert-file": str(pair.certificate),
            "tls-key-file": str(pair.key),
            "tls-ca-cert-file": str(authority), "tls-auth-clients": "yes" if asks_clients else "no",
        }  # fmt: skip
        lines = {"bind": host, "save": '""', "dir": str(folder), "logfile": str(folder / "log"), **port}
        self.log = folder / "log"
        self._config = folder / "redis.conf"
        self._config.write_text(
            "".join(f"{k} {v}\n" for k, v in {**lines, **(settings or {})}.items())
            + (f'user default on ">{PASSWORD}" ~* &* +@all\n' if has_password else "")
            + f'user {USER} on ">{PASSWORD}" {RIGHTS}\n'
        )  # fmt: skip
        self._program = find_tls_program()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        scheme = "rediss" if self._tls else "redis"
        return f"{scheme}://{USER}:pass%3Aword%2F1%20of%20the%20cache@{self.host}:{self.port}/0"

    def address(self, tls: CacheTls | None = None, user: str = USER) -> CacheAddress:
        return CacheAddress(
            host=self.host, port=self.port, db=0, username=user, password=PASSWORD, prefix="",
            use_tls=self._tls is not None, tls=tls or self._tls,
        )  # fmt: skip

    def start(self) -> None:
        self._process = subprocess.Popen([self._program, str(self._config)], stdin=subprocess.DEVNULL)
        eventually(self._is_up, f"a server; its log: {self.log}")

    def _is_up(self) -> bool:
        import socket

        try:
            socket.create_connection((self.host, self.port), 1.0).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def restart(self) -> None:
        self.kill()
        self.start()

    def keys(self, tls: CacheTls | None = None) -> list[bytes]:
        with connect(self.address(tls, "default")) as client:
            return sorted(client.keys("*"))

    def close(self) -> None:
        self.kill()
