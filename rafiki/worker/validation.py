"""Keeps what the best trials of a train worker predict for validation data: ensembles are chosen on it.

Whatever goes wrong here costs a trial nothing but these predictions.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rafiki.errors import ModelPredictError
from rafiki.model.base import BaseModel
from rafiki.model.failures import MODEL_FAILURES
from rafiki.model.loader import user_traceback
from rafiki.model.predictions import listed_predictions
from rafiki.param_store.base import ParamStore
from rafiki.tasks.registry import get_task
from rafiki.tasks.validation import CombiningTask, ValidationSample
from rafiki.utils.clock import Deadline
from rafiki.utils.values import JsonValue

if TYPE_CHECKING:
    from rafiki.tasks.validation import Packed

_logger = logging.getLogger(__name__)

_BATCH_SIZE = 64
_MOST_KEPT = 10
_MOST_FAILURES = 3
_MOST_S = 60.0
_MOST_BYTES = 64 << 20


class _TimeIsUp(BaseException):
    """No ``except Exception`` of model code stops it."""


class ValidationKeeper:
    """Of the trials of one worker, which it is given one after another.

    Args:
        task: the task's name; nothing is kept for one whose predictions cannot be joined.
        max_examples: how many examples of the validation dataset are asked; 0 = keep nothing.
        train_path, val_path: the datasets.
        train_args: of the train job.
        params: where predictions are kept, beside the trial's parameters.
        file_name: what messages call the model's file.
        most_s: how long one trial's predictions may take, reading the examples included. When that is not enough once,
            nothing more is kept.
        most_kept: of how many trials, the best so far, predictions are kept.
    """

    def __init__(
        self,
        *,
        task: str,
        max_examples: int,
        train_path: str,
        val_path: str,
        train_args: Mapping[str, JsonValue],
        params: ParamStore,
        file_name: str,
        most_s: float = _MOST_S,
        most_kept: int = _MOST_KEPT,
    ) -> None:
        rules = get_task(task)
        self._task = rules if isinstance(rules, CombiningTask) and max_examples > 0 else None
        self._max_examples = max_examples
        self._train_path, self._val_path = Path(train_path), Path(val_path)
        self._train_args = dict(train_args)
        self._params = params
        self._file_name = file_name
        self._most_s, self._most_kept = most_s, most_kept
        self._sample: ValidationSample | None = None
        self._kept: list[tuple[float, str]] = []
        self._n_failures = 0

    def keep(self, model: BaseModel, params_id: str, score: float, attempt: int = 1) -> None:
        """Keep the predictions of a trained model whose parameters are saved, if it is among the best so far.

        Args:
            model: it stays as it is, but for what its own ``predict()`` does.
            params_id: of its parameters.
            score: of its trial.
            attempt: of its trial. One before this was lost with its worker, perhaps in ``predict()``, so from then on
                nothing is kept.
        """
        if attempt > 1 and self._task is not None:
            self._task = None
            _log_reason("a worker was lost in this trial before, so none are kept from now on.")
        if self._task is None or (len(self._kept) >= self._most_kept and score <= min(self._kept)[0]):
            return
        try:
            with _time_limit(self._most_s) as deadline:
                packed = self._predict(self._task, model, deadline)
            if (size := sum(array.nbytes for array in packed.values())) > _MOST_BYTES:
                raise ModelPredictError(f"They have {size:,} bytes; at most {_MOST_BYTES:,} are kept.")
            self._params.save_validation(params_id, packed)
        except _TimeIsUp:
            self._task = None
            _log_reason(f"they took more than {self._most_s:g} s, so none are kept from now on.")
        except MODEL_FAILURES as e:
            self._n_failures += 1
            if self._n_failures >= _MOST_FAILURES:
                self._task = None
            _log_reason(user_traceback(e, self._file_name))
        else:
            self._n_failures = 0
            self._kept.append((score, params_id))
            if len(self._kept) > self._most_kept:
                worst = min(self._kept)
                self._kept.remove(worst)
                self._params.delete_validation(worst[1])

    def _predict(self, task: CombiningTask, model: BaseModel, deadline: Deadline) -> Packed:
        if self._sample is None:
            self._sample = task.read_validation(self._val_path, self._train_path, self._train_args, self._max_examples)
        queries, labels = self._sample
        predictions: list[JsonValue] = []
        for start in range(0, len(queries), _BATCH_SIZE):
            if deadline.is_over():
                raise _TimeIsUp
            # Copies: a model may change what it is asked, and the next one is asked the same.
            batch = [copy.copy(query) for query in queries[start : start + _BATCH_SIZE]]
            found = listed_predictions(model.predict(batch), len(batch))
            # As they would be served.
            predictions += [msgspec.json.decode(task.encode_prediction(p)) for p in found]
        return task.pack(labels, predictions)


def _log_reason(reason: str) -> None:
    _logger.info("no validation predictions of this trial were kept: %s", reason)


@contextlib.contextmanager
def _time_limit(most_s: float) -> Iterator[Deadline]:
    """Raises _TimeIsUp within the block when time is up; outside the main thread the deadline is looked at alone."""
    deadline = Deadline(most_s)
    if threading.current_thread() is not threading.main_thread():
        yield deadline
        return

    def ring(_signal: int, _frame: object) -> None:
        raise _TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, most_s)
    try:
        yield deadline
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
