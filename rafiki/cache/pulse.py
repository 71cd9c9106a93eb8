"""Whether the cache works now: logs in anew and writes, as the admin and as a job."""

from __future__ import annotations

from rafiki.cache.connection import cache_errors, connect
from rafiki.cache.credentials import Credentials
from rafiki.messages import CacheAddress

_TIMEOUT_S = 2.5
_LIVES_S = 60


class Pulse:
    """Safe to share between threads."""

    def __init__(self, admin: CacheAddress, credentials: Credentials, stack_id: str) -> None:
        """
        Args:
            stack_id: tells this stack from others that use the same server.
        """
        self._admin, self._credentials = admin, credentials
        self._job_id = f"pulse-{stack_id}"

    def begin(self) -> None:
        """Make a user as jobs have one, for :meth:`take`."""
        self._credentials.grant(self._job_id)

    def end(self) -> None:
        """Take the user back."""
        self._credentials.revoke(self._job_id)

    def take(self) -> None:
        """Try it.

        Raises:
            CacheUnavailableError: when it does not work, with the reason.
        """
        # Connections that are open may outlive what keeps new ones out, so both are made each time.
        with cache_errors(self._admin), connect(self._admin, socket_timeout_s=_TIMEOUT_S) as client:
            client.ping()
        job = self._credentials.address_of(self._job_id)
        with cache_errors(job), connect(job, socket_timeout_s=_TIMEOUT_S) as client:
            client.set(f"{job.prefix}beat", 1, ex=_LIVES_S)
