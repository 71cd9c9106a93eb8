"""The parameter cache: parameters that the trials of one sub train job share while it runs.

Holds the newest and the best-scoring parameters, of every worker and of all together; contents as bytes in the format
of the parameter store. Lost parameters are no error: a trial then starts afresh.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

from rafiki.cache.connection import cache_errors, connect
from rafiki.constants import SharePolicy
from rafiki.messages import CacheAddress

_MOST_KEPT = 4
_MOST_KEPT_BYTES = 256 << 20


class RedisParamCache:
    """Shared parameters of one sub train job, seen from one worker.

    What the worker has put or got lately it keeps: the best parameters are asked for in trial after trial, and change
    rarely.
    """

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
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        """By id, the least recently used first."""

    def put(self, params_id: str, params: bytes, score: float) -> None:
        """Share the parameters of a finished trial with its score. The same id always means the same bytes."""
        entry: dict[Any, Any] = {"score": repr(float(score)), "id": params_id, "params": params}

        def keep_best(pipe: Any) -> None:
            held = pipe.hget(key, "score")
            pipe.multi()
            if held is None or float(held) < score:
                pipe.hset(key, mapping=entry)

        self._keep(params_id.encode(), params)
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
            params_id = cast("bytes | None", self._client.hget(self._keys[policy], "id"))
            if params_id is None:
                return None
            if params_id in self._kept:
                self._kept.move_to_end(params_id)
                return self._kept[params_id]
            # Together: another worker may write in between.
            found = cast("list[bytes | None]", self._client.hmget(self._keys[policy], ["id", "params"]))
        params_id, params = found
        if params_id is None or params is None:
            return None
        self._keep(params_id, params)
        return params

    def _keep(self, params_id: bytes, params: bytes) -> None:
        self._kept[params_id] = params
        self._kept.move_to_end(params_id)
        while len(self._kept) > _MOST_KEPT or sum(map(len, self._kept.values())) > _MOST_KEPT_BYTES:
            self._kept.popitem(last=False)

    def close(self) -> None:
        self._client.close()
