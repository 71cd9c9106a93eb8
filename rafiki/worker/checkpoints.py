"""Keeps checkpoints of the running trial: written in the background, so often as their cost allows.

Whatever goes wrong here costs a trial nothing but a checkpoint.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rafiki.cache.train import RedisTrainCache
from rafiki.entities import TrialCheckpoint
from rafiki.errors import CacheUnavailableError, InvalidParamsError, RafikiError
from rafiki.messages import CacheAddress, CheckpointSaved, TrainOrder
from rafiki.model.base import Params
from rafiki.model.logger import logger
from rafiki.param_store.base import ParamStore, new_params_id
from rafiki.utils.clock import Deadline
from rafiki.utils.process import Backoff

MOST_SHARE = 0.1
"""Of the trial's time that checkpoints take in all, once it is known what one takes."""
_WAIT_S = 5.0
_ANNOUNCE_S = 60.0
"""How long the cache may be away before a checkpoint is given up."""


class TrialCheckpoints:
    """Of the trials of one worker, which it is given one after another. At most one checkpoint is being written.

    Args:
        address, sub_train_job_id, worker_id: where, and as whom, checkpoints are announced.
        params: where they are kept.
        every_s: the least time between the end of one and the next; 0 = keep none.
        max_bytes: the largest that is kept.
    """

    def __init__(
        self,
        *,
        address: CacheAddress,
        sub_train_job_id: str,
        worker_id: str,
        params: ParamStore,
        every_s: float,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = RedisTrainCache(address, sub_train_job_id)
        self._worker_id = worker_id
        self._params = params
        self._every_s = every_s
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None
        self._order: TrainOrder | None = None

    def begin(self, order: TrainOrder) -> None:
        """A trial begins."""
        with self._lock:
            self._order = order
            self._began = self._last_end = self._clock()
            self._n_saved = 0
            self._spent_s = self._last_s = 0.0
            self._is_refused = False

    def end(self) -> None:
        """The training of the trial has ended. Its log is told what checkpoints have cost."""
        with self._lock:
            passed_s, spent_s, n_saved = self._clock() - self._began, self._spent_s, self._n_saved
            self._order = None
        if n_saved:
            logger.log(f"{_count(n_saved)} took {spent_s:.2f} of the {passed_s:.1f} s that training took.")

    def is_due(self) -> bool:
        """Whether one would be kept now."""
        with self._lock:
            if self._order is None or self._every_s <= 0 or self._is_refused or self._writer is not None:
                return False
            now = self._clock()
            if now - self._last_end < self._every_s:
                return False
            return self._spent_s + self._last_s <= MOST_SHARE * (now - self._began)

    def save(self, params: Params, step: int) -> bool:
        """Take a copy of the state, and begin to write it. Whether that has begun."""
        # Loaded here: a model without checkpoints pays nothing for them.
        from rafiki.param_store.codec import encode_params

        order, started = self._order, self._clock()
        if order is None:
            return False
        try:
            data = encode_params(params)
        except InvalidParamsError as e:
            self._refuse(f"No checkpoints of this trial are kept: {e.message}")
            return False
        if len(data) > self._max_bytes:
            self._refuse(
                f"No checkpoints of this trial are kept: one has {len(data):,} bytes, and the setting "
                f"train.checkpoint_max_mb allows {self._max_bytes:,}."
            )
            return False
        writer = threading.Thread(target=self._write, args=(order, data, step, started), name="checkpoint", daemon=True)
        with self._lock:
            self._writer = writer
        writer.start()
        return True

    def load(self) -> tuple[Params, int] | None:
        """The last checkpoint of an earlier attempt; None when there is none, or it cannot be read."""
        found: TrialCheckpoint | None = self._order.checkpoint if self._order else None
        if found is None:
            return None
        try:
            params = self._params.load(found.params_id)
        except RafikiError as e:
            logger.log(f"The checkpoint at step {found.step} cannot be used, so training starts anew: {e.message}")
            return None
        logger.log(f"Goes on from the checkpoint that attempt {found.attempt} has left at step {found.step}.")
        return params, found.step

    def wait(self) -> None:
        """Wait a little for the one that is being written: what is announced before the trial's result is removed."""
        if (writer := self._writer) is not None:
            writer.join(_WAIT_S)

    def _refuse(self, reason: str) -> None:
        with self._lock:
            self._is_refused = True
        logger.log(reason)

    def _write(self, order: TrainOrder, data: bytes, step: int, started: float) -> None:
        """Of a thread: one checkpoint."""
        reason: str | None = None
        try:
            params_id = new_params_id(data)
            self._params.put(params_id, [data])
            self._announce(CheckpointSaved(self._worker_id, order.trial_id, order.attempt, step, params_id))
        except (RafikiError, OSError) as e:
            reason = e.message if isinstance(e, RafikiError) else str(e)
        now = self._clock()
        with self._lock:
            self._writer = None
            # It may have taken longer than its trial.
            if self._order is not order:
                return
            self._last_end, self._last_s = now, now - started
            self._spent_s += now - started
            self._n_saved += reason is None
        if reason is None:
            logger.log(f"Checkpoint at step {step}: {len(data):,} bytes in {now - started:.2f} s.")
        else:
            logger.log(f"The checkpoint at step {step} was not kept: {reason}")

    def _announce(self, event: CheckpointSaved) -> None:
        deadline, backoff = Deadline(_ANNOUNCE_S), Backoff()
        while True:
            try:
                return self._cache.send_event(event)
            except CacheUnavailableError:
                if deadline.is_over():
                    raise
            threading.Event().wait(backoff.next_s())


def _count(n: int) -> str:
    return "1 checkpoint" if n == 1 else f"{n} checkpoints"
