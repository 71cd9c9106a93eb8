"""Requests of many threads, predicted by one, in the batches that form by themselves."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from rafiki.errors import NoPredictionError, PredictorBusyError
from rafiki.exported.ensemble import Answer

_MOST_AT_ONCE = 64
_MOST_WAITING = 4096
# A signal that comes just before a thread begins to wait, or to another thread, does not wake it: Python runs the
# handler at the thread's next step, so there has to be one.
_LOOK_UP_S = 0.25

_Request = tuple[list[bytes], "Future[list[Answer]]"]


class Batches:
    """What waits to be predicted. :meth:`run` belongs to the thread that loaded the models, the rest to any."""

    def __init__(self, answer: Callable[[Sequence[bytes]], list[Answer]]) -> None:
        self._answer = answer
        # This kind alone may be put to by a signal handler that interrupts its own get.
        self._waiting: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()

    def ask(self, queries: Sequence[bytes], timeout_s: float) -> list[Answer]:
        """The answers to the queries of one request.

        Raises:
            PredictorBusyError: when too many requests wait.
            NoPredictionError: when they were not predicted in time.
        """
        if self._waiting.qsize() >= _MOST_WAITING:
            raise PredictorBusyError("Too many requests are waiting. Try again in a moment.")
        future: Future[list[Answer]] = Future()
        self._waiting.put((list(queries), future))
        try:
            return future.result(timeout_s)
        except FutureTimeoutError as e:
            # Not predicted for nobody, should its turn come later.
            future.cancel()
            raise NoPredictionError(f"No prediction was made within {timeout_s:g} s.") from e

    def stop(self) -> None:
        """Have :meth:`run` return once what waits is answered."""
        self._waiting.put(None)

    def run(self) -> None:
        """Predict whatever waits, all of it at once, until :meth:`stop`."""
        is_over = False
        while not is_over:
            batch: list[_Request] = []
            try:
                request = self._waiting.get(timeout=_LOOK_UP_S)
            except queue.Empty:
                continue
            while request is not None:
                batch.append(request)
                if sum(len(queries) for queries, _ in batch) >= _MOST_AT_ONCE:
                    break
                try:
                    request = self._waiting.get_nowait()
                except queue.Empty:
                    break
            is_over = request is None
            self._predict([r for r in batch if r[1].set_running_or_notify_cancel()])

    def _predict(self, batch: list[_Request]) -> None:
        if not batch:
            return
        try:
            answers = iter(self._answer([query for queries, _ in batch for query in queries]))
            found = [[next(answers) for _ in queries] for queries, _ in batch]
        except Exception as e:  # noqa: BLE001 - each request is told; the server goes on
            for _, future in batch:
                future.set_exception(e)
            return
        for (_, future), part in zip(batch, found, strict=True):
            future.set_result(part)
