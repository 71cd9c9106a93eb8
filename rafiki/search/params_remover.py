"""Removes parameters that no record names any more, beside the search: a store may be slow or away."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Sequence

from rafiki.errors import RafikiError
from rafiki.meta_store import MetaStore
from rafiki.store_location import StoreLocation
from rafiki.stores import open_param_store

_logger = logging.getLogger(__name__)


class ParamsRemover:
    """A thread that begins with the first removal. What it has not come to when the process ends is left in the
    store; garbage collection finds it there.

    Args:
        store: where trials are.
        location: of the store of parameters; None = they are left there.
    """

    def __init__(self, store: MetaStore, location: StoreLocation | None) -> None:
        self._store = store
        self._location = location
        self._waiting: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def remove(self, params_ids: Sequence[str]) -> None:
        """Have these removed soon, but those that a trial has."""
        if self._location is None or not params_ids:
            return
        self._waiting.put(list(params_ids))
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, args=(self._location,), name="params-remover", daemon=True
            )
            self._thread.start()

    def close(self, within_s: float) -> None:
        """Wait for what is to be removed, for so long at most."""
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(within_s)

    def _work(self, location: StoreLocation) -> None:
        while (params_ids := self._waiting.get()) is not None:
            try:
                self._remove(params_ids, location)
            except (RafikiError, OSError) as e:
                _logger.warning("parameters were left in their store, until garbage is collected: %s", e)

    def _remove(self, params_ids: Sequence[str], location: StoreLocation) -> None:
        # A worker runs model code: what it calls its parameters may be somebody else's.
        used = self._store.trials.find_used_params(params_ids)
        with contextlib.closing(open_param_store(location)) as params:
            for params_id in params_ids:
                if params_id not in used:
                    params.delete(params_id)
