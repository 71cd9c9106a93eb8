"""Queries to a predictor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NotRequired, Self, TypedDict, cast

from rafiki.client.http_server import HttpServer, encode_json, split_address
from rafiki.client.plain_answers import Json
from rafiki.client.trust import Trust, told_trust
from rafiki.errors import (
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    PredictorBusyError,
    RequestTooLargeError,
    UnreachableError,
)
from rafiki.utils.npy import write_header

if TYPE_CHECKING:
    import pandas as pd

PREDICT_TIMEOUT_S = 30.0
_ALONE = 64
"""Queries that go in one request, without asking how many the predictor takes."""
_ALONE_BYTES = 8 << 20
_MOST_ITEM_BYTES = 4096
"""Of an element: texts have any length."""
_JSON = {"Content-Type": "application/json"}


def array_as_npy(value: object) -> bytes | None:
    """A NumPy array in the npy format; None for all else, and for arrays of what is sent in no other form than JSON."""
    if not hasattr(value, "__array_interface__") or not hasattr(value, "dtype"):
        return None
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind not in "biufUS" or not array.dtype.itemsize or array.dtype.itemsize > _MOST_ITEM_BYTES:
        return None
    return write_header(array.dtype.str, array.shape) + array.tobytes()


class PredictorAnswer(TypedDict):
    """What a predictor answers."""

    prediction: Any  # type: ignore[explicit-any]
    """That for one query; None for a batch."""
    predictions: list[Any]  # type: ignore[explicit-any]
    """Those for a batch, in its order."""
    left_out: NotRequired[list[str]]
    """Ids of the served trials that did not take part in every prediction, where there are any."""
    left_out_reasons: NotRequired[dict[str, str]]
    """Why, by their ids: ``shed`` (it would not have answered in time), ``late``, ``absent`` or ``failed``."""


class PredictorClient:
    """Keeps connections to one predictor. Safe to share between threads.

    Args:
        predictor_host: ``host:port``, as an inference job names it.
        timeout_s: the longest wait for an answer, above 0; for that to a whole batch. The predictor's own deadline is
            shorter.
        ca: PEM file of the authorities that its certificate is checked against; None = ``RAFIKI_CA``, else those that
            the machine trusts.
        trust: what stands in the place of ``ca`` where a command has found the stack of this machine.
        key: of the app, for a predictor that asks for one.
        binary: NumPy arrays are sent as their bytes (npy), rather than as lists in JSON: the same queries, at a
            fraction of the cost for images. The predictor is of this version of Rafiki or a later one.

    Raises:
        InvalidRequestError: when ``predictor_host`` or ``timeout_s`` is not of that form.
    """

    _is_light: ClassVar[bool] = False

    def __init__(
        self,
        predictor_host: str,
        *,
        timeout_s: float = PREDICT_TIMEOUT_S,
        ca: str | Path | None = None,
        trust: Trust | None = None,
        key: str | None = None,
        binary: bool = False,
    ) -> None:
        if not 0 < timeout_s < math.inf:
            raise InvalidRequestError(f"timeout_s is {timeout_s:g}. Give a number of seconds above 0.")
        host, port = split_address(predictor_host, "a predictor")
        hint = "Is the inference job still running? See `rafiki infer list`."
        self._server = HttpServer(
            host, port, what="predictor", hint=hint, is_light=self._is_light,
            trust=told_trust(ca) if trust is None or ca is not None else trust,
        )  # fmt: skip
        self._timeout_s = timeout_s
        self._is_binary = binary
        self._headers = _JSON if key is None else {**_JSON, "Authorization": f"Bearer {key}"}

    def predict(self, query: object) -> Any:  # type: ignore[explicit-any]
        """The prediction for one query."""
        if (raw := self._array_of(query)) is not None:
            return self.ask_raw(raw)["prediction"]
        return self.post({"query": query})["prediction"]

    def predict_many(self, queries: Sequence[object]) -> list[Any]:  # type: ignore[explicit-any]
        """The predictions for a batch of queries of any size, in their order; see :meth:`ask_many`."""
        return self.ask_many(queries)["predictions"]

    def predict_frame(self, frame: pd.DataFrame) -> pd.DataFrame:  # type: ignore[no-any-unimported]
        """The predictions for the rows of a table of pandas, as a table with the same index.

        Args:
            frame: a row a query, a column a feature; what is missing is sent as null.

        Raises:
            ImportError: when pandas is not installed.
            RafikiError: as :meth:`ask_many` does.
        """
        from rafiki.client.frames import frame_to_queries, predictions_to_frame

        return predictions_to_frame(self.predict_many(frame_to_queries(frame)), frame.index)

    def ask_many(self, queries: Sequence[object]) -> PredictorAnswer:
        """The whole answer for a batch of queries of any size: ``{"prediction": None, "predictions": [...]}`` and what
        else is in it.

        More than the predictor takes at once are sent in parts, several at a time, and ``timeout_s`` holds for all of
        them together.

        Raises:
            UnreachableError: when no predictor answers, or not everything is answered in time.
            InvalidQueryError, ModelPredictError, PredictorBusyError, NoPredictionError: from the predictor; of a part,
                naming the query or the range of queries.
        """
        if hasattr(queries, "columns"):
            raise InvalidRequestError("A table of pandas is asked with PredictorClient.predict_frame(table).")
        arrays = [raw for query in queries if (raw := self._array_of(query)) is not None] if self._is_binary else []
        if not arrays or len(arrays) < len(queries):
            arrays = [encode_json(query) for query in queries]
        return self.ask_raws(arrays)

    def ask_raw(self, raw: bytes) -> PredictorAnswer:
        """The whole answer for one array in the npy format.

        Raises:
            RafikiError: as :meth:`ask_many` does.
        """
        return self._post_raw(raw, self._timeout_s)

    def ask_raws(self, raws: Sequence[bytes]) -> PredictorAnswer:
        """As :meth:`ask_many`, for queries as they travel: all JSON values, or all arrays in the npy format."""
        from rafiki.client.query_parts import ask_in_parts, body_of

        if len(raws) <= _ALONE and sum(map(len, raws)) <= _ALONE_BYTES:
            try:
                return self._post_raw(body_of(raws), self._timeout_s, is_batch=True)
            except PredictorBusyError:
                if len(raws) <= (self._most_queries() or len(raws)):
                    raise
            except RequestTooLargeError:
                if len(raws) == 1:
                    raise

        def send(body: bytes, timeout_s: float) -> bytes:
            return self._send(body, timeout_s, is_batch=True)

        found = ask_in_parts(send, raws, most_queries=self._most_queries(), timeout_s=self._timeout_s)
        predictions = [self._server.decode(bytes(p)) for p in found.predictions]
        answer: PredictorAnswer = {"prediction": None, "predictions": predictions}
        if found.left_out:
            answer["left_out"] = found.left_out
            if found.left_out_reasons:
                answer["left_out_reasons"] = found.left_out_reasons
        return answer

    def _most_queries(self) -> int | None:
        """How many queries the predictor takes at once; None when it does not say, as one of an earlier version."""
        try:
            most = self.get_health().get("max_queries")
        except (NotFoundError, MethodNotAllowedError):  # A proxy in front of it may pass on POST /predict alone.
            return None
        return most if isinstance(most, int) and most > 0 else None

    def post(self, body: Mapping[str, object]) -> PredictorAnswer:
        """The predictor's whole answer: ``{"prediction": ..., "predictions": [...]}`` and what else is in it.

        Raises:
            UnreachableError: when no predictor answers in time.
            InvalidQueryError, ModelPredictError, PredictorBusyError, NoPredictionError: from the predictor.
        """
        return self._post_raw(encode_json(body), self._timeout_s)

    def _post_raw(self, body: bytes, timeout_s: float, *, is_batch: bool = False) -> PredictorAnswer:
        return cast(PredictorAnswer, self._server.decode_object(self._send(body, timeout_s, is_batch=is_batch)))

    def _send(self, body: bytes, timeout_s: float, *, is_batch: bool) -> bytes:
        if body.startswith(b"{"):
            return self._server.send("POST", "/predict", content=body, headers=self._headers, timeout_s=timeout_s)
        return self._server.send(
            "POST", "/predict", content=body, headers={**self._headers, "Content-Type": "application/x-npy"},
            params={"batch": "true"} if is_batch else {}, timeout_s=timeout_s,
        )  # fmt: skip

    def _array_of(self, query: object) -> bytes | None:
        """The bytes of a query that is a NumPy array, if they are to be sent."""
        return array_as_npy(query) if self._is_binary else None

    def get_health(self) -> Json:
        """What the predictor says of itself: ``task``, ``members`` (trial ids), ``absent`` (those without a worker),
        ``max_queries`` (how many it takes in one request).

        Raises:
            UnreachableError: when no predictor answers in time.
        """
        answer = self._server.decode(self._server.send("GET", "/", timeout_s=self._timeout_s))
        if not isinstance(answer, dict):
            raise UnreachableError(f"What answers at {self._server.address} is not a Rafiki predictor.")
        return answer

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BriefPredictorClient(PredictorClient):
    """For a program that asks a few times and ends: it goes without httpx, which costs 100 ms to load, where no proxy
    is to be used."""

    _is_light = True


def predict(
    predictor_host: str,
    query: object = None,
    queries: Sequence[object] | None = None,
    timeout_s: float = PREDICT_TIMEOUT_S,
    ca: str | Path | None = None,
    key: str | None = None,
) -> PredictorAnswer:
    """Ask a predictor once.

    Args:
        predictor_host: ``host:port``, as an inference job names it.
        query: one query, in the form that the job's task takes; NumPy arrays are sent as lists.
        queries: a batch of queries instead of one, of any size: it is sent in parts where it is large.
        timeout_s: the longest wait for all of the answer.
        ca: as for :class:`PredictorClient`.
        key: as for :class:`PredictorClient`.

    Returns:
        ``{"prediction": p, "predictions": []}`` for a query,
        ``{"prediction": None, "predictions": [...]}`` for a batch; with ``left_out``, the ids of the served trials
        that did not take part, where there are any.

    Raises:
        UnreachableError: when no predictor answers in time.
        InvalidQueryError, ModelPredictError, PredictorBusyError, NoPredictionError: from the predictor.
    """
    with PredictorClient(predictor_host, timeout_s=timeout_s, ca=ca, key=key) as predictor:
        return predictor.post({"query": query}) if queries is None else predictor.ask_many(queries)
