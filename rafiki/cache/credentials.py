"""One cache user a job, limited by ACL to the keys and channels under the job's prefix, and to the commands we use."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from rafiki.cache.connection import cache_errors, connect
from rafiki.cache.rights import ServerFacts
from rafiki.messages import CacheAddress
from rafiki.utils.ids import derive_secret

ROOT_PREFIX = "rafiki:"
USER_PREFIX = "rafiki-job-"


def job_prefix(job_id: str) -> str:
    """The prefix of all keys of a train or inference job."""
    return f"{ROOT_PREFIX}{job_id}:"


class Credentials:
    """Makes and takes back the users of jobs. Used by the admin alone, with the cache's own password."""

    def __init__(self, admin: CacheAddress, job_key: str) -> None:
        self._admin = admin
        self._job_key = job_key
        self._facts: ServerFacts | None = None

    def ask_server(self) -> ServerFacts:
        """What the server says of itself; asked anew, because another one may have taken its place.

        Raises:
            CacheUnavailableError: when the cache cannot be reached.
            CacheUnfitError: when it lacks what is needed.
        """
        with cache_errors(self._admin), connect(self._admin) as client:
            self._facts = ServerFacts(client, self._admin)
        return self._facts

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
            tls=self._admin.tls,
        )

    def grant(self, job_id: str) -> CacheAddress:
        """Make the job's user (again: the cache may have lost it) and return its address.

        Raises:
            CacheUnavailableError: when the cache cannot be reached.
            CacheUnfitError: when it lacks what is needed.
        """
        self.grant_all([job_id])
        return self.address_of(job_id)

    def grant_all(self, job_ids: Iterable[str]) -> None:
        """As :meth:`grant` for several jobs, in one round trip."""
        facts = self._facts or self.ask_server()
        with (
            cache_errors(self._admin),
            connect(self._admin) as client,
            client.pipeline(transaction=False) as pipe,
        ):
            for address in map(self.address_of, job_ids):
                pipe.execute_command(
                    # Before Redis 7 a new user may use all channels.
                    "ACL", "SETUSER", address.username, "reset", "resetchannels", "on", f">{address.password}",
                    f"~{address.prefix}*", f"&{address.prefix}*", *facts.grants,
                )  # fmt: skip
            pipe.execute()

    def withdraw(self, job_id: str) -> None:
        """Take the job's user away."""
        with cache_errors(self._admin), connect(self._admin) as client:
            client.execute_command("ACL", "DELUSER", USER_PREFIX + job_id)

    def revoke(self, job_id: str) -> None:
        """Take the job's user away, and everything under its prefix."""
        self.revoke_all([job_id])

    def revoke_all(self, job_ids: Collection[str]) -> None:
        """As :meth:`revoke` for several jobs: the keys of the cache are gone through once."""
        users = [USER_PREFIX + job_id for job_id in job_ids]
        if not users:
            return
        wanted = {job_id.encode() for job_id in job_ids}
        pattern = f"{job_prefix(next(iter(job_ids)))}*" if len(users) == 1 else f"{ROOT_PREFIX}*"
        with cache_errors(self._admin), connect(self._admin) as client:
            client.execute_command("ACL", "DELUSER", *users)
            batch: list[bytes] = []
            for key in client.scan_iter(match=pattern, count=1000):
                if key.split(b":", 2)[1] in wanted:
                    batch.append(key)
                if len(batch) >= 500:
                    client.unlink(*batch)
                    batch.clear()
            if batch:
                client.unlink(*batch)
