"""An inference worker: holds the model of one served trial and answers its queries in batches.

It takes what has gathered while it predicted, and waits for more where that gains. Model code runs here.
"""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from rafiki.cache.inference import RedisWorkerQueue
from rafiki.errors import CacheUnavailableError, InvalidQueryError
from rafiki.messages import InferenceWorkerSpec, Query, Reply
from rafiki.model.base import BaseModel
from rafiki.model.serving import Outcome, ServedModel, load_trained_model
from rafiki.scheduling.batch_cost import BatchCost
from rafiki.scheduling.batch_wait import BatchWait
from rafiki.service import Outage, ServiceContext, run_service
from rafiki.stores import open_param_store
from rafiki.tasks.base import TaskSpec
from rafiki.tasks.registry import get_task
from rafiki.utils.logs import bind_log_fields
from rafiki.utils.process import ServiceStopped, StopSignal
from rafiki.worker.model_spans import open_model_spans
from rafiki.worker.tracing import BatchTrace, WorkerTracing
from rafiki.worker.ways import QueryQueue, QueryWays

_WAIT_S = 20.0
_UNTRACED = contextlib.nullcontext()


def load_trial_model(
    spec: InferenceWorkerSpec, preparing: contextlib.AbstractContextManager[None] | None = None
) -> BaseModel:
    """The trained model of a trial.

    Args:
        preparing: entered while its parameters come to this host.

    Raises:
        ModelError: when model code fails.
        DamagedFileError, InvalidTrialError: when its parameters are damaged or gone.
    """
    with preparing or contextlib.nullcontext(), contextlib.closing(open_param_store(spec.params)) as store:
        params = store.load(spec.params_id)
    return load_trained_model(spec.model.file, spec.model.model_class, spec.knobs, params, spec.model.name)


class BatchPredictor:
    """Answers batches of queries from the queue: each reply goes to whom it belongs to."""

    def __init__(self, model: BaseModel, task: TaskSpec, model_file_name: str) -> None:
        self._model = ServedModel(model, task, model_file_name)

    def answer(self, queries: Sequence[Query], now_ms: int) -> dict[str, list[Reply]]:
        """Reply queue -> replies. Queries past their deadline get none: nobody waits for them.

        Args:
            now_ms: the time, by the clock that the deadlines are of.
        """
        waiting = [query for query in queries if query.deadline_ms >= now_ms]
        replies: dict[str, list[Reply]] = defaultdict(list)
        for query, outcome in zip(waiting, self._model.answer([q.query for q in waiting]), strict=True):
            replies[query.reply_to].append(_reply(query.query_id, outcome))
        return replies

    def close(self) -> None:
        """Let the model and its class clean up."""
        self._model.close()


def _reply(query_id: int, outcome: Outcome) -> Reply:
    if isinstance(outcome, bytes):
        return Reply(query_id, "ok", outcome)
    status: Literal["invalid_query", "model_error"] = (
        "invalid_query" if isinstance(outcome, InvalidQueryError) else "model_error"
    )
    return Reply(query_id, status, outcome.message.encode(errors="replace"))


class Batches:
    """Takes batches from the queue of a served trial: what is there, and more where waiting for it gains."""

    def __init__(self, queue: QueryQueue, most: int) -> None:
        self._queue = queue
        self._most = most
        self._cost = BatchCost()
        self._wait = BatchWait(self._cost)

    def fill(self, queries: list[Query]) -> list[Query]:
        """``queries``, and those that come while it gains to wait for them: milliseconds, so a stop waits for it.

        A cache that goes away meanwhile ends the wait: what is held is predicted.
        """
        if not queries or not self._wait.may_gain(len(queries)):
            return queries
        first_ms = min(query.deadline_ms for query in queries)
        while (size := len(queries)) < self._most:
            wait_s = self._wait.wait_s(size, (first_ms - self._queue.now_ms) / 1000)
            if not wait_s:
                break
            began = time.perf_counter()
            try:
                came = self._queue.exchange({}, most=self._most - size, timeout_s=wait_s)
            except CacheUnavailableError:
                break
            self._wait.add(size, time.perf_counter() - began, len(came))
            if not came:
                break
            queries = queries + came
        return queries

    def add(self, size: int, took_s: float) -> None:
        """Learn from a batch that was predicted."""
        self._cost.add(size, took_s)


def _open_queue(spec: InferenceWorkerSpec) -> QueryQueue:
    if spec.direct_folder is None:
        return RedisWorkerQueue(spec.cache, spec.trial_id)
    return QueryWays(spec, Path(spec.direct_folder))


def answer_queries(
    spec: InferenceWorkerSpec, predictor: BatchPredictor, stop: StopSignal, tracing: WorkerTracing | None = None
) -> None:
    """Answer queries until the process is asked to stop.

    Args:
        tracing: None = no query carries a trace.

    Raises:
        ServiceStopped: when it was asked to.
        CacheUnavailableError: when the cache stays away.
    """
    queue = _open_queue(spec)
    traced: BatchTrace | None = None
    batches = Batches(queue, spec.batch_size)
    outage = Outage(stop)
    replies: dict[str, list[Reply]] = {}
    while True:
        try:
            with stop.interruptible():
                queries = queue.exchange(replies, most=spec.batch_size, timeout_s=_WAIT_S)
        except ServiceStopped:
            # What is predicted is told; an exchange that was interrupted may have done it already, which does no harm.
            with contextlib.suppress(CacheUnavailableError):
                queue.send(replies)
            raise
        except CacheUnavailableError as e:
            # The replies are kept: they are sent when the cache is back.
            outage.wait(e)
            continue
        outage.end()
        taken_ns = time.time_ns() if tracing is not None else 0
        queries = batches.fill(queries)
        if tracing is not None:
            traced = tracing.find_batch(queries, taken_ns)
        began = time.perf_counter()
        with traced.predicting() if traced is not None else _UNTRACED:
            replies = predictor.answer(queries, queue.now_ms)
        if traced is not None:
            traced.add_to(replies)
        if queries:
            took_s = time.perf_counter() - began
            batches.add(len(queries), took_s)
            for batch in replies.values():
                # Predictors plan by what batches cost.
                batch[0] = msgspec.structs.replace(batch[0], batch=len(queries), took_s=took_s)


def serve(service: ServiceContext[InferenceWorkerSpec]) -> None:
    """Load the model and answer queries until the process is asked to stop."""
    spec = service.spec
    bind_log_fields(trial=spec.trial_no)
    tracing = WorkerTracing(open_model_spans()) if spec.is_traced else None
    with service.permanent_failures():  # the same parameters fail in the same way in a new process
        predictor = BatchPredictor(load_trial_model(spec, service.preparing()), get_task(spec.task), spec.model.name)
    service.on_exit(predictor.close)
    # What is loaded now stays: without it in every collection, the tail of the latencies is several times shorter.
    gc.collect()
    service.end_loading()
    service.report_running(serves_trial=spec.trial_id)
    answer_queries(spec, predictor, service.stop, tracing)


if __name__ == "__main__":
    sys.exit(run_service(InferenceWorkerSpec, serve))
