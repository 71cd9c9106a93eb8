"""What a job's credential may do, in the words of the server that grants it: servers know different commands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rafiki.cache_program import is_too_old, too_old
from rafiki.errors import CacheUnfitError
from rafiki.messages import CacheAddress

if TYPE_CHECKING:
    import redis

NEEDED = (
    "ping",
    "time",
    "select",
    "multi",
    "exec",
    "discard",
    "watch",
    "unwatch",
    "get",
    "set",
    "del",
    "expire",
    "mget",
    "hset",
    "hget",
    "hgetall",
    "hmget",
    "hdel",
    "rpush",
    "lpop",
    "blpop",
    "ltrim",
    "xadd",
    "xreadgroup",
    "xack",
    "xdel",
    "xgroup|create",
    "publish",
    "subscribe",
    "unsubscribe",
)
"""No SCAN, KEYS or PUBSUB: they would show other jobs. No scripts. AUTH needs no right."""
_WHERE_KNOWN = ("blmpop", "client|setinfo")
"""BLMPOP is sent where the server knows it. The other is what workers of earlier versions send, which may still run
when the admin was replaced."""


class ServerFacts:
    """What a server says of itself, asked once."""

    def __init__(self, client: redis.Redis, address: CacheAddress) -> None:
        """
        Raises:
            CacheUnfitError: when the server is too old, or lacks a command that is needed.
            redis.RedisError: when it cannot be asked.
        """
        pipe = client.pipeline(transaction=False)
        pipe.info("server")
        pipe.info("memory")
        # As one word: the answer to COMMAND alone is parsed by the driver, and not by every version alike.
        pipe.execute_command("COMMAND INFO", *_asked())  # type: ignore[no-untyped-call]
        about, memory, entries = cast(
            "tuple[dict[str, object], dict[str, object], list[list[object] | None]]", pipe.execute()
        )
        self.name = "Valkey" if "valkey_version" in about else "Redis"
        self.version = str(about.get("valkey_version") or about["redis_version"])
        self.run_id = str(about["run_id"])
        where = f"The cache server at {address.host}:{address.port} ({self.name} {self.version})"
        if is_too_old(self.name, self.version):
            raise CacheUnfitError(too_old(where))
        known = _known(entries)
        if missing := [c for c in NEEDED if c not in known]:
            raise CacheUnfitError(
                f"{where} does not know {', '.join(_written(c) for c in missing)}, which Rafiki needs. Take another "
                "Redis, 6.2 or newer, or Valkey."
            )
        self.warning = _why_it_may_forget(where, memory)
        """What is to be told, though jobs can work with it."""
        self.grants: Sequence[str] = [f"+{c}" for c in (*NEEDED, *_WHERE_KNOWN) if c in known]
        """Words of ACL SETUSER for the commands of a job's user."""


def _why_it_may_forget(where: str, memory: dict[str, object]) -> str | None:
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if policy == "noeviction":
        return None
    limit = memory.get("maxmemory_human") if memory.get("maxmemory") else None
    bound = f"when its {limit} are full" if limit else "once it is given a limit (maxmemory)"
    return (
        f"{where} takes keys away {bound} (maxmemory-policy {policy}): queries and events would be lost, and have to "
        "be sent again. Set maxmemory-policy to noeviction."
    )


def _asked() -> list[str]:
    """What is asked about: the commands, and those that the subcommands belong to."""
    names = [*NEEDED, *_WHERE_KNOWN]
    return [*names, *(n.partition("|")[0] for n in names if "|" in n)]


def _known(entries: Sequence[list[object] | None]) -> set[str]:
    """The commands among those asked about that may be named in an ACL of the server."""
    found = dict(zip(_asked(), entries, strict=True))
    known = {name for name, entry in found.items() if entry is not None}
    for name in (*NEEDED, *_WHERE_KNOWN):
        command = found.get(name.partition("|")[0])
        # Redis 6 knows no subcommands here (its entries have 7 fields), and takes any of a command in an ACL.
        if "|" in name and command is not None and len(command) < _FIELDS_WITH_SUBCOMMANDS:
            known.add(name)
    return known


_FIELDS_WITH_SUBCOMMANDS = 10


def _written(command: str) -> str:
    return command.replace("|", " ").upper()
