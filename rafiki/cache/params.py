"""The parameter cache: parameters that the trials of one sub train job share while it runs.

Holds the newest and the best-scoring parameters, of every worker and of all together; contents as bytes in the format
of the parameter store. Lost parameters are no error: a trial then starts afresh.
"""

from __future__ import annotations

from typing import Any, cast

from rafiki.cache.connection import cache_errors, connect
from rafiki.constants import SharePolicy
from rafiki.messages import CacheAddress


class RedisParamCache:
    """Shared parameters of one sub train job, seen from one worker."""

    def __init__(self, address: CacheAddress, sub_train_job_id: str, worker_id: str) -> None:
        self._address = address
        self._client = connect(address)
        base = f"{address.prefix}{sub_train_job_id}:params:"
        self._keys = {
            SharePolicy.LOCAL_RECENT: f"{base}recent:{worker_id}",
            SharePolicy.LOCAL_BEST: f"{base}best:{worker_id}",
            SharePolicy.GLOBAL_RECENT: f"{base}recent",
            SharePolicy.GLOBAL_BEST: f"{base}best",
        }

    def put(self, params: bytes, score: float) -> None:
        """Share the parameters of a finished trial with its score."""
        entry: dict[Any, Any] = {"score": repr(float(score)), "params": params}

        def keep_best(pipe: Any) -> None:
            held = pipe.hget(key, "score")
            pipe.multi()
            if held is None or float(held) < score:
                pipe.hset(key, mapping=entry)

        with cache_errors(self._address):
            for policy, key in self._keys.items():
                if policy in (SharePolicy.LOCAL_BEST, SharePolicy.GLOBAL_BEST):
                    # Again when another worker wrote in between: the better one stays.
                    self._client.transaction(keep_best, key)
                else:
                    self._client.hset(key, mapping=entry)

    def get(self, policy: SharePolicy) -> bytes | None:
        """Parameters by ``policy``, or None when there are none (yet, or any more)."""
        with cache_errors(self._address):
            return cast("bytes | None", self._client.hget(self._keys[policy], "params"))

    def close(self) -> None:
        self._client.close()
