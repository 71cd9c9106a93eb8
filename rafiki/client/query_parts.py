"""Many queries, sent to a predictor in parts: no more at once than it takes, several parts on their way, in order.

How many are on their way at once follows from how long the first part took, and is halved whenever the predictor says
that it was too much. So a batch of any size is answered, and a slow model is not asked for more than it can answer
before the predictor's own deadline.
"""

from __future__ import annotations

import io
import re
import threading
import time
import zipfile
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple, TypeAlias

import msgspec

from rafiki.errors import (
    NoPredictionError,
    PredictorBusyError,
    RafikiError,
    RequestTooLargeError,
    UnreachableError,
)
from rafiki.utils.clock import Deadline
from rafiki.utils.npy import MAGIC, join_arrays
from rafiki.utils.process import Backoff

_MOST_PARTS = 4
"""On their way at once."""
_FIRST_QUERIES = 32
"""In the first part, which tells how fast the predictor is."""
_MOST_QUERIES = 1024
"""On their way at once."""
_MOST_BYTES = 8 << 20
"""In the body of one part."""
_AHEAD_S = 2.0
"""As many queries are on their way as are answered within this time: far less than a predictor's deadline."""
_QUERY = re.compile(r"Query (\d+): ")

RawJson: TypeAlias = bytes
"""A JSON value as it travels."""


class PartAnswer(msgspec.Struct):
    """A predictor's answer to several queries."""

    predictions: list[msgspec.Raw]
    left_out: list[str] = []
    left_out_reasons: dict[str, str] = {}


class _Part(NamedTuple):
    start: int
    queries: Sequence[bytes]
    window: int
    """How many queries could be on their way when it was made."""

    @property
    def end(self) -> int:
        return self.start + len(self.queries)

    def sliced(self, start: int, end: int | None) -> _Part:
        return self._replace(start=self.start + start, queries=self.queries[start:end])


Send: TypeAlias = Callable[[bytes, float], RawJson]
"""Sends the body of one part; given the seconds that are left, it returns the body of the answer."""


def body_of(queries: Sequence[bytes]) -> bytes:
    """The body that asks for the predictions of ``queries``: all JSON values, or all arrays in the npy format.

    Arrays of one type and shape go as one array, to be split along its first axis; others as an npz file.
    """
    if not queries or not queries[0].startswith(MAGIC):
        return b'{"queries":[%b]}' % b",".join(queries)
    if (joined := join_arrays(queries)) is not None:
        return joined
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for i, query in enumerate(queries):
            archive.writestr(f"arr_{i}.npy", query)
    return file.getvalue()


def ask_in_parts(send: Send, queries: Sequence[bytes], *, most_queries: int | None, timeout_s: float) -> PartAnswer:
    """The answers to all ``queries``, in their order.

    Args:
        queries: as :func:`body_of` takes them.
        most_queries: how many the predictor takes at once; None = it does not say.
        timeout_s: how long all of them may take.

    Raises:
        UnreachableError: when nobody answers, or not everything is answered in time.
        RafikiError: the refusal of a part, which names the query or its range.
    """
    return _Asking(send, queries, most_queries or _MOST_QUERIES, Deadline(timeout_s)).run()


class _Asking:
    """One batch on its way."""

    def __init__(self, send: Send, queries: Sequence[bytes], most_queries: int, deadline: Deadline) -> None:
        self._send, self._queries, self._deadline = send, queries, deadline
        self._most = min(most_queries, _MOST_QUERIES)
        self._window = min(_FIRST_QUERIES, self._most)
        """Queries that may be on their way."""
        self._is_first = True
        self._next = 0
        self._again: deque[_Part] = deque()
        self._running: dict[Future[tuple[PartAnswer, float]], _Part] = {}
        self._predictions: list[msgspec.Raw | None] = [None] * len(queries)
        self._left_out: dict[str, None] = {}
        self._reasons: dict[str, str] = {}
        self._backoff = Backoff(0.05, 1.0)
        self._pause: Deadline | None = None
        self._refusal = ""
        """Of a part that was asked again."""

    def run(self) -> PartAnswer:
        pool = ThreadPoolExecutor(_MOST_PARTS, thread_name_prefix="predict")
        try:
            while self._running or self._again or self._next < len(self._queries):
                if self._deadline.is_over():
                    raise self._late()
                self._start_parts(pool)
                self._take_answers()
        finally:
            # What is on its way ends by itself, within the time that was left for it.
            pool.shutdown(wait=False, cancel_futures=True)
        return PartAnswer([p for p in self._predictions if p is not None], list(self._left_out), self._reasons)

    def _start_parts(self, pool: ThreadPoolExecutor) -> None:
        if self._pause is not None:
            if not self._pause.is_over():
                return
            self._pause = None
        n_parts = 1 if self._is_first else _MOST_PARTS
        size = max(1, self._window // n_parts)
        while len(self._running) < n_parts:
            on_their_way = sum(len(part.queries) for part in self._running.values())
            if on_their_way and on_their_way + size > self._window:
                return
            part = self._cut(size)
            if part is None:
                return
            self._running[pool.submit(self._ask, part)] = part

    def _cut(self, size: int) -> _Part | None:
        """The next part: of at most ``size`` queries, and not too large."""
        if self._again:
            part = self._again.popleft()
            if len(part.queries) > size:
                self._again.appendleft(part.sliced(size, None))
            return part.sliced(0, size)._replace(window=self._window)
        start = end = self._next
        n_bytes = 0
        while end < len(self._queries) and end - start < size:
            n_bytes += len(self._queries[end])
            if end > start and n_bytes > _MOST_BYTES:
                break
            end += 1
        self._next = end
        return _Part(start, self._queries[start:end], self._window) if end > start else None

    def _ask(self, part: _Part) -> tuple[PartAnswer, float]:
        began_s = time.monotonic()
        body = body_of(part.queries)
        answer = msgspec.json.decode(self._send(body, max(self._deadline.left_s(), 0.01)), type=PartAnswer)
        if len(answer.predictions) != len(part.queries):
            raise UnreachableError(
                f"The predictor answered {len(part.queries)} queries with {len(answer.predictions)} predictions."
            )
        return answer, time.monotonic() - began_s

    def _take_answers(self) -> None:
        pause_s = self._deadline.left_s() if self._pause is None else min(self._pause.left_s(), self._deadline.left_s())
        if not self._running:
            threading.Event().wait(pause_s)
            return
        done, _ = wait(self._running, timeout=pause_s, return_when=FIRST_COMPLETED)
        for future in sorted(done, key=lambda f: self._running[f].start):
            part = self._running.pop(future)
            try:
                answer, took_s = future.result()
            except (PredictorBusyError, RequestTooLargeError, NoPredictionError) as e:
                self._ask_for_less(part, e)
            except msgspec.DecodeError as e:
                raise UnreachableError("What answers there is not a Rafiki predictor.") from e
            except RafikiError as e:
                raise self._late() if self._deadline.is_over() else _placed(e, part) from e
            else:
                self._keep(part, answer, took_s)

    def _keep(self, part: _Part, answer: PartAnswer, took_s: float) -> None:
        self._predictions[part.start : part.end] = answer.predictions
        self._left_out |= dict.fromkeys(answer.left_out)
        self._reasons |= answer.left_out_reasons
        self._backoff.reset()
        if self._is_first and not self._refusal:
            self._window = max(1, min(self._most, int(len(part.queries) * _AHEAD_S / max(took_s, 1e-6))))
        elif self._refusal:
            # What made it too much may be over.
            self._window = min(self._most, self._window + 1)
        self._is_first = False

    def _ask_for_less(self, part: _Part, error: RafikiError) -> None:
        """After a refusal: halve what is on its way, and ask again; one query alone can only wait for its turn."""
        if len(part.queries) == 1 and not isinstance(error, PredictorBusyError):
            raise _placed(error, part) from error
        self._refusal = error.message
        if part.window == self._window:
            on_their_way = sum(len(p.queries) for p in (part, *self._running.values()))
            self._window = max(1, min(self._window, on_their_way) // 2)
            if self._is_first and isinstance(error, NoPredictionError):
                # Nobody at all is there, or the model is slow: one query tells which.
                self._window = 1
        if isinstance(error, RequestTooLargeError):
            half = (len(part.queries) + 1) // 2
            self._again.appendleft(part.sliced(half, None))
            part = part.sliced(0, half)
        self._again.appendleft(part)
        if isinstance(error, PredictorBusyError):
            self._pause = Deadline(self._backoff.next_s())

    def _late(self) -> UnreachableError:
        missing = [i for i, prediction in enumerate(self._predictions) if prediction is None]
        n_done, n = len(self._queries) - len(missing), len(self._queries)
        reason = f" The predictor said: {self._refusal}" if self._refusal else ""
        return UnreachableError(
            f"The predictor answered {n_done:,} of {n:,} queries within {self._deadline.duration_s:g} s; the first "
            f"without an answer is query {missing[0]}. Allow more time (timeout_s, or `rafiki predict --timeout`)."
            f"{reason}"
        )


def _placed(error: RafikiError, part: _Part) -> RafikiError:
    """An error that tells which of all the queries it is about: the predictor counts those of a part."""
    if found := _QUERY.match(error.message):
        message = f"Query {part.start + int(found[1])}: {error.message[found.end() :]}"
    elif len(part.queries) == 1:
        message = f"Query {part.start}: {error.message}"
    else:
        message = f"Queries {part.start} to {part.end - 1}: {error.message}"
    return error.with_message(message).with_name()
