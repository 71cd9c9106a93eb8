"""One cache user a job, limited by ACL to the keys and channels under the job's prefix, and to the commands we use."""

from __future__ import annotations

from rafiki.cache.connection import cache_errors, connect
from rafiki.messages import CacheAddress
from rafiki.utils.ids import derive_secret

ROOT_PREFIX = "rafiki:"
USER_PREFIX = "rafiki-job-"

_COMMANDS = [
    "ping",
    "auth",
    "hello",
    "client|setinfo",
    "client|setname",
    "select",
    "multi",
    "exec",
    "discard",
    "get",
    "set",
    "del",
    "unlink",
    "exists",
    "expire",
    "pexpire",
    "mget",
    "hset",
    "hget",
    "hgetall",
    "hmget",
    "hdel",
    "rpush",
    "lpush",
    "blpop",
    "blmpop",
    "lmpop",
    "llen",
    "ltrim",
    "xadd",
    "xreadgroup",
    "xack",
    "xdel",
    "xlen",
    "xgroup|create",
    "watch",
    "unwatch",
    "publish",
    "subscribe",
    "unsubscribe",
]
"""No SCAN, KEYS or PUBSUB: they would show other jobs. No scripts."""


def job_prefix(job_id: str) -> str:
    """The prefix of all keys of a train or inference job."""
    return f"{ROOT_PREFIX}{job_id}:"


class Credentials:
    """Makes and takes back the users of jobs. Used by the admin alone, with the cache's own password."""

    def __init__(self, admin: CacheAddress, job_key: str) -> None:
        self._admin = admin
        self._job_key = job_key

    def address_of(self, job_id: str) -> CacheAddress:
        """How the services of a job reach the cache. Derived, so that a restarted admin gives the same."""
        return CacheAddress(
            host=self._admin.host,
            port=self._admin.port,
            db=self._admin.db,
            username=USER_PREFIX + job_id,
            password=derive_secret(self._job_key, f"cache:{job_id}"),
            prefix=job_prefix(job_id),
            use_tls=self._admin.use_tls,
        )

    def grant(self, job_id: str) -> CacheAddress:
        """Make the job's user (again: the cache may have lost it) and return its address.

        Raises:
            CacheUnavailableError: when the cache cannot be reached.
        """
        address = self.address_of(job_id)
        with cache_errors(self._admin), connect(self._admin) as client:
            client.execute_command(
                "ACL", "SETUSER", address.username, "reset", "on", f">{address.password}",
                f"~{address.prefix}*", f"&{address.prefix}*", *(f"+{c}" for c in _COMMANDS),
            )  # fmt: skip
        return address

    def revoke(self, job_id: str) -> None:
        """Take the job's user away, and everything under its prefix."""
        with cache_errors(self._admin), connect(self._admin) as client:
            client.execute_command("ACL", "DELUSER", USER_PREFIX + job_id)
            batch: list[bytes] = []
            for key in client.scan_iter(match=f"{job_prefix(job_id)}*", count=1000):
                batch.append(key)
                if len(batch) >= 500:
                    client.unlink(*batch)
                    batch.clear()
            if batch:
                client.unlink(*batch)
