"""A train worker: asks its advisor for a trial, runs the model, sends the result, asks again.

Model code runs here. The worker knows its job's cache credential, two datasets and one store of parameters: no database
and no admin.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from rafiki.cache.params import RedisParamCache
from rafiki.cache.train import RedisTrainCache
from rafiki.errors import (
    CacheUnavailableError,
    DamagedFileError,
    InvalidParamsError,
    InvalidTrialError,
    ModelError,
    RafikiError,
    StoreFullError,
)
from rafiki.knob_specs import Knobs
from rafiki.messages import (
    EndOrder,
    Hello,
    Order,
    TrainEvent,
    TrainOrder,
    TrainWorkerSpec,
    TrialDone,
    TrialFailed,
    TrialScored,
)
from rafiki.model.base import BaseModel, Params
from rafiki.model.checkpoint import checkpoint
from rafiki.model.failures import MODEL_FAILURES
from rafiki.model.knobs import PolicyKnob, check_knobs, from_knob_specs
from rafiki.model.loader import load_model_class, user_traceback
from rafiki.model.logger import TrialEndedEarly, logger
from rafiki.model.score import checked_score
from rafiki.param_store.codec import decode_params
from rafiki.service import Outage, ServiceContext, run_service
from rafiki.stores import open_data_store, open_param_store
from rafiki.utils import trial_output
from rafiki.utils.logs import log_fields
from rafiki.utils.process import StopSignal
from rafiki.worker.checkpoints import TrialCheckpoints
from rafiki.worker.datasets import JobDatasets
from rafiki.worker.trial_log import TrialLogBuffer
from rafiki.worker.validation import ValidationKeeper

_logger = logging.getLogger("rafiki.worker.train")

_RESEND_AFTER_S = 10.0
"""Without an order for so long, a worker sends its last event again: the advisor, or the cache, may have lost it."""


class TrainWorker:
    """The loop of one worker. ``unacknowledged`` is the event that the advisor may not have received yet."""

    def __init__(
        self,
        spec: TrainWorkerSpec,
        stop: StopSignal,
        preparing: AbstractContextManager[None] | None = None,
    ) -> None:
        """
        Args:
            preparing: entered while the datasets come to this host.
        """
        self._spec = spec
        self._stop = stop
        self._cache = RedisTrainCache(spec.cache, spec.sub_train_job_id)
        self._params = open_param_store(spec.params)
        self._datasets = open_data_store(spec.datasets)
        with preparing or contextlib.nullcontext():
            ids = (spec.train_store_id, spec.val_store_id)
            self._job_datasets = JobDatasets(self._datasets, {i: spec.dataset_names.get(i, i) for i in ids})
            self._train_path, self._val_path = (self._job_datasets.get_path(i) for i in ids)
            self._job_datasets.check()
        self._knob_config = from_knob_specs(spec.knob_config)
        self._validation = ValidationKeeper(
            task=spec.task, max_examples=spec.validation_predictions, train_path=self._train_path,
            val_path=self._val_path, train_args=spec.train_args, params=self._params, file_name=spec.model.name,
        )  # fmt: skip
        self._checkpoints = TrialCheckpoints(
            address=spec.cache, sub_train_job_id=spec.sub_train_job_id, worker_id=spec.service_id,
            params=self._params, every_s=spec.checkpoint_s, max_bytes=spec.checkpoint_max_bytes,
        )  # fmt: skip
        # Apart from the one that waits for orders: model code may report from a thread of its own.
        self._reports = RedisTrainCache(spec.cache, spec.sub_train_job_id)
        self._shared: RedisParamCache | None = None
        if any(isinstance(k, PolicyKnob) and k.policy == "SHARE_PARAMS" for k in self._knob_config.values()):
            self._shared = RedisParamCache(spec.cache, spec.sub_train_job_id, spec.service_id)
        self._model_class = load_model_class(spec.model.file, spec.model.model_class, file_name=spec.model.name)
        self._log = TrialLogBuffer(spec.cache, spec.sub_train_job_id, spec.service_id)
        self._outage = Outage(stop)
        self._fullness = Outage(stop, spec.wait_for_space_s)
        logger.set_sink(self._log.write)

    def run(self) -> None:
        """Run trials until the advisor ends the search, or the process is asked to stop.

        Raises:
            CacheUnavailableError: when the cache stays away.
            InvalidDatasetError, DamagedFileError: when a dataset is gone or damaged; the trial that it was for is not
                spent.
        """
        unacknowledged: TrainEvent = Hello(self._spec.service_id)
        last_done: tuple[str, int] | None = None
        self._send(unacknowledged)
        while True:
            order = self._take_order(unacknowledged)
            if isinstance(order, EndOrder):
                return
            if not isinstance(order, TrainOrder):
                continue
            if (order.trial_id, order.attempt) == last_done:
                # Sent twice, by an advisor that had died before it acknowledged. Not an answer to our result.
                continue
            self._job_datasets.check()
            with log_fields(trial=order.no):
                unacknowledged = self._run_trial(order)
            # What was trained on damaged data, or failed for it, is no result.
            self._job_datasets.check()
            last_done = (order.trial_id, order.attempt)
            self._send(unacknowledged)

    def _send(self, event: TrainEvent) -> None:
        while not self._try(lambda: self._cache.send_event(event)):
            pass

    def _take_order(self, unacknowledged: TrainEvent) -> Order:
        taken: list[Order | None] = []
        while True:
            taken.clear()
            with self._stop.interruptible():
                is_reached = self._try(
                    lambda: taken.append(self._cache.take_order(self._spec.service_id, _RESEND_AFTER_S)),
                )
            if taken and (order := taken[0]) is not None:
                return order
            # Nothing came in time, or the cache was away and may be empty now.
            if not is_reached:
                self._log.resend()
            self._send(unacknowledged)

    def _try(self, action: Callable[[], None]) -> bool:
        """Whether ``action`` reached the cache; waits before the next try when it did not."""
        try:
            action()
        except CacheUnavailableError as e:
            self._outage.wait(e)
            return False
        self._outage.end()
        return True

    def _run_trial(self, order: TrainOrder) -> TrialDone | TrialFailed:
        worker_id = self._spec.service_id
        self._log.open(order.trial_id, order.attempt)
        _logger.info(trial_output.BEGINS, order.attempt)
        try:
            with self._stop.interruptible():
                done = self._train_and_save(order)
        except RafikiError as e:
            reason = e.message
            _logger.warning(trial_output.FAILED, reason)
        except MODEL_FAILURES as e:
            reason = user_traceback(e, self._spec.model.name)
            _logger.warning(trial_output.FAILED, reason, exc_info=True)
            # The reason is one line; whoever mends the model wants them all.
            logger.log("".join(traceback.format_exception(e)).rstrip())
        else:
            _logger.info(trial_output.ENDS, done.score)
            self._checkpoints.wait()
            return TrialDone(
                worker_id,
                order.trial_id,
                order.attempt,
                done.score,
                done.params_id,
                self._log.close(),
                done.ended_early,
            )
        self._checkpoints.wait()
        # Half a surrogate pair (as in the name of a file) would keep the reason from travelling.
        reason = reason.encode(errors="replace").decode()
        return TrialFailed(worker_id, order.trial_id, order.attempt, reason, self._log.close())

    def _train_and_save(self, order: TrainOrder) -> _Trained:
        """Run one trial: the model with its proposal's knobs, trained, evaluated, and its parameters saved."""
        knobs = check_knobs(self._knob_config, order.knobs)
        model = self._model_class(**knobs)
        try:
            ended_early = self._train(model, order)
            score = checked_score(model.evaluate(self._val_path))
            on = self._policies_on(knobs)
            if "SKIP_TRAIN" in on:
                # It evaluated what others trained. Such a score is a guide for the search; it makes no trial to serve.
                return _Trained(score, None, ended_early)
            params = model.dump_parameters()
            if not isinstance(params, dict):
                raise ModelError(f"dump_parameters() must return a dict, not a {type(params).__name__}.")
            params_id = self._save(params)
            if "SHARE_PARAMS" in on:
                self._share(params_id, score)
            self._validation.keep(model, params_id, score, order.attempt)
            return _Trained(score, params_id, ended_early)
        finally:
            _destroy(model, self._spec.model.name)

    def _save(self, params: Params) -> str:
        """Keep the parameters. What was trained is not lost because there is no space for a while."""
        while True:
            try:
                params_id = self._params.save(params)
            except StoreFullError as e:
                if not self._fullness.is_on:
                    _logger.warning("%s The trial's parameters wait for it.", e.message)
                self._fullness.wait(e)
                continue
            if self._fullness.is_on:
                _logger.info("There is space again: the trial's parameters are saved.")
            self._fullness.end()
            return params_id

    def _train(self, model: BaseModel, order: TrainOrder) -> str | None:
        """Train the model; the reason for which it was ended early, or None."""
        train: Callable[..., None] = model.train  # type: ignore[explicit-any]
        logger.set_stopping_check(lambda step, score: self._check_for_stop(order, step, score))
        self._checkpoints.begin(order)
        checkpoint.set_keeper(self._checkpoints)
        try:
            train(self._train_path, **self._shared_params(order), **self._spec.train_args)
        except TrialEndedEarly as e:
            logger.log(f"The trial ends early. {e.reason}")
            return e.reason
        finally:
            logger.set_stopping_check(None)
            checkpoint.set_keeper(None)
            self._checkpoints.end()
        return None

    def _check_for_stop(self, order: TrainOrder, step: float, score: float) -> str | None:
        """Report the score to the advisor, and read whether it has given the trial up. Its answer to this very score
        may come only with the next one: nobody waits for it."""
        worker_id = self._spec.service_id
        # A cache that is away for a while must not fail a training.
        with contextlib.suppress(CacheUnavailableError):
            self._reports.send_event(TrialScored(worker_id, order.trial_id, order.attempt, step, score))
            end = self._reports.look_for_end(worker_id)
            if end is not None and (end.trial_id, end.attempt) == (order.trial_id, order.attempt):
                return end.reason
        return None

    def _policies_on(self, knobs: Knobs) -> set[str]:
        """The policies that the trial runs under."""
        return {k.policy for n, k in self._knob_config.items() if isinstance(k, PolicyKnob) and knobs[n]}

    def _shared_params(self, order: TrainOrder) -> dict[str, Params]:
        """``{"shared_params": ...}`` when the trial is to start from some; a cache that lost them means afresh."""
        if order.start_from_params is not None:
            try:
                return {"shared_params": self._params.load(order.start_from_params)}
            except (DamagedFileError, InvalidParamsError, InvalidTrialError) as e:
                logger.log(f"The parameters to start from cannot be used, so training starts anew. {e.message}")
        if self._shared is None or order.start_from is None:
            return {}
        with contextlib.suppress(CacheUnavailableError):
            if (data := self._shared.get(order.start_from)) is not None:
                try:
                    return {"shared_params": decode_params(data)}
                except InvalidParamsError as e:
                    logger.log(f"The shared parameters cannot be used, so training starts anew. {e.message}")
        return {}

    def _share(self, params_id: str, score: float) -> None:
        if self._shared is not None:
            with contextlib.suppress(CacheUnavailableError):
                self._shared.put(params_id, self._params.read_bytes(params_id), score)

    def close(self) -> None:
        """Let the model class clean up, and the stores go."""
        # The model's own clean-up: nothing depends on it any more.
        with contextlib.suppress(*MODEL_FAILURES):
            self._model_class.teardown()
        self._datasets.close()
        self._params.close()


class _Trained(NamedTuple):
    score: float
    params_id: str | None
    ended_early: str | None


def _destroy(model: BaseModel, file_name: str) -> None:
    try:
        model.destroy()
    except MODEL_FAILURES as e:
        _logger.warning("destroy() failed: %s", user_traceback(e, file_name))


def serve(service: ServiceContext[TrainWorkerSpec]) -> None:
    """Run trials until the search is over or the process is asked to stop."""
    with service.permanent_failures():  # the same model file fails in the same way in a new process
        worker = TrainWorker(service.spec, service.stop, service.preparing())
    service.on_exit(worker.close)
    service.end_loading()
    service.report_running()
    with service.permanent_failures():  # a dataset that is damaged is so for the next worker
        worker.run()


if __name__ == "__main__":
    sys.exit(run_service(TrainWorkerSpec, serve))
