"""Queries to a predictor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self

from rafiki.client.http_server import HttpServer, encode_json, split_address
from rafiki.client.plain_answers import Json
from rafiki.errors import InvalidRequestError, UnreachableError

PREDICT_TIMEOUT_S = 30.0


class PredictorClient:
    """Keeps connections to one predictor. Safe to share between threads.

    Args:
        predictor_host: ``host:port``, as an inference job names it.
        timeout_s: the longest wait for an answer, above 0. The predictor's own deadline is shorter.

    Raises:
        InvalidRequestError: when ``predictor_host`` or ``timeout_s`` is not of that form.
    """

    _is_light: ClassVar[bool] = False

    def __init__(self, predictor_host: str, *, timeout_s: float = PREDICT_TIMEOUT_S) -> None:
        if not 0 < timeout_s < math.inf:
            raise InvalidRequestError(f"timeout_s is {timeout_s:g}. Give a number of seconds above 0.")
        host, port = split_address(predictor_host, "a predictor")
        hint = "Is the inference job still running? See `rafiki infer list`."
        self._server = HttpServer(host, port, what="predictor", hint=hint, is_light=self._is_light)
        self._timeout_s = timeout_s

    def predict(self, query: object) -> Any:  # type: ignore[explicit-any]
        """The prediction for one query."""
        return self.post({"query": query})["prediction"]

    def predict_many(self, queries: Sequence[object]) -> list[Any]:  # type: ignore[explicit-any]
        """The predictions for a batch of queries, in their order."""
        return list(self.post({"queries": list(queries)})["predictions"])

    def post(self, body: Mapping[str, object]) -> Json:
        """The predictor's whole answer: ``{"prediction": ..., "predictions": [...]}`` and what else is in it.

        Raises:
            UnreachableError: when no predictor answers in time.
            InvalidQueryError, ModelPredictError, PredictorBusyError, NoPredictionError: from the predictor.
        """
        content, headers = encode_json(body), {"Content-Type": "application/json"}
        answer = self._server.send("POST", "/predict", content=content, headers=headers, timeout_s=self._timeout_s)
        return self._server.decode_object(answer)

    def get_health(self) -> Json:
        """What the predictor says of itself: ``task``, ``members`` (trial ids), ``absent`` (those without a worker).

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
) -> Json:
    """Ask a predictor once.

    Args:
        predictor_host: ``host:port``, as an inference job names it.
        query: one query, in the form that the job's task takes; NumPy arrays are sent as lists.
        queries: a batch of queries instead of one.

    Returns:
        ``{"prediction": p, "predictions": []}`` for a query,
        ``{"prediction": None, "predictions": [...]}`` for a batch; with ``left_out``, the ids of the served trials
        that did not take part, where there are any.

    Raises:
        UnreachableError: when no predictor answers in time.
        InvalidQueryError, ModelPredictError, PredictorBusyError, NoPredictionError: from the predictor.
    """
    with PredictorClient(predictor_host, timeout_s=timeout_s) as predictor:
        return predictor.post({"query": query} if queries is None else {"queries": list(queries)})
