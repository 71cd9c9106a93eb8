"""An inference worker: holds the model of one served trial and answers its queries in batches.

It never waits to fill a batch: it takes what has gathered while it predicted. Model code runs here.
"""

from __future__ import annotations

import gc
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rafiki.cache.heartbeat import Heartbeat
from rafiki.cache.inference import RedisWorkerQueue
from rafiki.errors import CacheUnavailableError, InvalidQueryError, ModelError, ModelPredictError, RafikiError
from rafiki.messages import InferenceWorkerSpec, Query, Reply
from rafiki.model.base import BaseModel
from rafiki.model.loader import load_model_class, user_traceback
from rafiki.param_store.folder import FolderParamStore
from rafiki.tasks.base import TaskSpec
from rafiki.tasks.registry import get_task
from rafiki.utils.clock import Deadline, unix_ms
from rafiki.utils.process import Backoff, ServiceStopped, StopSignal
from rafiki.utils.spec import read_spec

_WAIT_S = 20.0
_GIVE_UP_S = 600.0


def load_trial_model(spec: InferenceWorkerSpec) -> BaseModel:
    """The trained model of a trial.

    Raises:
        ModelError: when model code fails.
        DamagedFileError, InvalidTrialError: when its parameters are damaged or gone.
    """
    model_class = load_model_class(spec.model.file, spec.model.model_class, file_name=spec.model.name)
    params = FolderParamStore(Path(spec.params_folder)).load(spec.params_id)
    try:
        model = model_class(**spec.knobs)
        model.load_parameters(params)
    except (Exception, SystemExit) as e:  # model code may raise anything
        raise ModelError(f"Loading the trained model failed: {user_traceback(e, spec.model.name)}") from e
    return model


class BatchPredictor:
    """Answers batches of queries; whatever fails, fails for the query that caused it alone."""

    def __init__(self, model: BaseModel, task: TaskSpec, model_file_name: str) -> None:
        self._model = model
        self._task = task
        self._file_name = model_file_name

    def answer(self, queries: Sequence[Query]) -> dict[str, list[Reply]]:
        """Reply queue -> replies. Queries past their deadline get none: nobody waits for them."""
        now = unix_ms()
        replies: dict[str, list[Reply]] = defaultdict(list)
        waiting: list[Query] = []
        decoded: list[Any] = []
        for query in queries:
            if query.deadline_ms < now:
                continue
            try:
                decoded.append(self._task.decode_query(query.query))
            except InvalidQueryError as e:
                replies[query.reply_to].append(Reply(query.query_id, "invalid_query", e.message.encode()))
            except (UnicodeDecodeError, RecursionError) as e:
                # The predictor passes values on unparsed, so text that is no UTF-8 is found only here.
                reason = f"The query is no valid JSON: {e}."
                replies[query.reply_to].append(Reply(query.query_id, "invalid_query", reason.encode()))
            else:
                waiting.append(query)
        for query, prediction in zip(waiting, self._predict(decoded), strict=True):
            replies[query.reply_to].append(self._reply(query.query_id, prediction))
        return replies

    def close(self) -> None:
        """Let the model and its class clean up."""
        for clean_up in (self._model.destroy, self._model.teardown):
            try:
                clean_up()
            except (Exception, SystemExit) as e:  # noqa: BLE001 - model code may raise anything; nothing depends on it
                sys.stderr.write(f"warning: {clean_up.__name__}() failed: {user_traceback(e, self._file_name)}\n")

    def _reply(self, query_id: int, prediction: Any) -> Reply:
        if not isinstance(prediction, ModelPredictError):
            try:
                return Reply(query_id, "ok", self._task.encode_prediction(prediction))
            except ModelPredictError as e:
                prediction = e
            except Exception as e:  # noqa: BLE001 - the methods of what predict() returned are model code too
                prediction = ModelPredictError(
                    f"predict() returned what cannot be sent: {user_traceback(e, self._file_name)}"
                )
        return Reply(query_id, "model_error", prediction.message.encode(errors="replace"))

    def _predict(self, decoded: list[Any]) -> list[Any]:
        """One prediction, or a ModelPredictError, for each query."""
        if not decoded:
            return []
        try:
            return self._predict_together(decoded)
        except ModelPredictError as e:
            if len(decoded) == 1:
                return [e]
        # One bad query must not spoil the others of its batch.
        answers: list[Any] = []
        for query in decoded:
            try:
                answers += self._predict_together([query])
            except ModelPredictError as e:
                answers.append(e)
        return answers

    def _predict_together(self, decoded: list[Any]) -> list[Any]:
        try:
            predictions = self._model.predict(decoded)
            found = list(predictions)
        except (Exception, SystemExit) as e:  # model code may raise anything
            raise ModelPredictError(f"predict() failed: {user_traceback(e, self._file_name)}") from e
        if len(found) != len(decoded):
            raise ModelPredictError(f"predict() returned {len(found)} predictions for {len(decoded)} queries.")
        return found


def serve(spec: InferenceWorkerSpec, predictor: BatchPredictor, stop: StopSignal) -> None:
    """Answer queries until the process is asked to stop.

    Raises:
        ServiceStopped: when it was asked to.
        CacheUnavailableError: when the cache stays away.
    """
    queue = RedisWorkerQueue(spec.cache, spec.trial_id)
    backoff = Backoff()
    unreachable: Deadline | None = None
    replies: dict[str, list[Reply]] = {}
    while True:
        try:
            with stop.interruptible():
                queries = queue.exchange(replies, most=spec.batch_size, timeout_s=_WAIT_S)
        except CacheUnavailableError:
            # The replies are kept: they are sent when the cache is back.
            unreachable = unreachable or Deadline(_GIVE_UP_S)
            if unreachable.is_over():
                raise
            stop.wait(backoff.next_s())
            continue
        unreachable = None
        backoff.reset()
        replies = predictor.answer(queries)


def main() -> int:
    """The process. Its exit code is 0 when it was asked to stop."""
    spec = read_spec(InferenceWorkerSpec)
    stop = StopSignal()
    stop.install()
    heartbeat = Heartbeat(spec.cache, spec.service_id, spec.heartbeat_s, serves_trial=spec.trial_id)
    try:
        predictor = BatchPredictor(load_trial_model(spec), get_task(spec.task), spec.model.name)
    except RafikiError as e:
        sys.stderr.write(f"error: {e.message}\n")
        heartbeat.fail(e.message, is_permanent=True)
        return e.exit_code
    # What is loaded now stays: without it in every collection, the tail of the latencies is several times shorter.
    gc.collect()
    gc.freeze()
    heartbeat.start()
    try:
        serve(spec, predictor, stop)
    except ServiceStopped:
        pass
    except RafikiError as e:
        sys.stderr.write(f"error: {e.message}\n")
        heartbeat.fail(e.message)
        return e.exit_code
    finally:
        predictor.close()
    heartbeat.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
