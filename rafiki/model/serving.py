"""A trained model as it answers queries: the same in an inference worker and in an export.

Model code runs here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from rafiki.errors import InvalidQueryError, ModelError, ModelPredictError
from rafiki.model.base import BaseModel, Params
from rafiki.model.failures import MODEL_FAILURES
from rafiki.model.loader import load_model_class, user_traceback
from rafiki.model.predictions import listed_predictions
from rafiki.tasks.base import TaskSpec
from rafiki.tasks.query_arrays import decode_value
from rafiki.utils.json_text import why_not_json

_logger = logging.getLogger(__name__)

Outcome: TypeAlias = bytes | InvalidQueryError | ModelPredictError
"""What became of one query: the prediction as JSON, or why there is none."""


def load_trained_model(
    source: bytes, model_class: str, knobs: Mapping[str, object], params: Params, file_name: str
) -> BaseModel:
    """A model with the parameters of a trial.

    Args:
        source: the model's file.
        model_class: the class in it.
        knobs, params: of the trial.
        file_name: what messages call the file.

    Raises:
        ModelError: when model code fails.
    """
    found = load_model_class(source, model_class, file_name=file_name)
    try:
        model = found(**knobs)
        model.load_parameters(params)
    except MODEL_FAILURES as e:  # model code may raise anything
        raise ModelError(f"Loading the trained model failed: {user_traceback(e, file_name)}") from e
    return model


class ServedModel:
    """Answers batches of queries; whatever fails, fails for the query that caused it alone."""

    def __init__(self, model: BaseModel, task: TaskSpec, file_name: str) -> None:
        self._model = model
        self._task = task
        self._file_name = file_name

    def answer(self, queries: Sequence[bytes]) -> list[Outcome]:
        """What becomes of each query, one JSON value or one array in the npy format each; all that can be is predicted
        in one call."""
        outcomes: list[Outcome | None] = []
        decoded: list[object] = []
        for query in queries:
            try:
                decoded.append(decode_value(self._task, query))
            except InvalidQueryError as e:
                outcomes.append(e)
            except (UnicodeDecodeError, RecursionError) as e:
                # The predictor passes values on unparsed, so text that is no UTF-8 is found only here.
                outcomes.append(InvalidQueryError(f"The query is no valid JSON: {why_not_json(query) or e}."))
            else:
                outcomes.append(None)
        predictions = iter(self._predict(decoded))
        return [self._encode(next(predictions)) if outcome is None else outcome for outcome in outcomes]

    def close(self) -> None:
        """Let the model and its class clean up."""
        for clean_up in (self._model.destroy, self._model.teardown):
            try:
                clean_up()
            except MODEL_FAILURES as e:
                _logger.warning("%s() failed: %s", clean_up.__name__, user_traceback(e, self._file_name))

    def _encode(self, prediction: object) -> Outcome:
        if isinstance(prediction, ModelPredictError):
            return prediction
        try:
            return self._task.encode_prediction(prediction)
        except ModelPredictError as e:
            return e
        except Exception as e:  # noqa: BLE001 - the methods of what predict() returned are model code too
            return ModelPredictError(f"predict() returned what cannot be sent: {user_traceback(e, self._file_name)}")

    def _predict(self, decoded: list[object]) -> list[object]:
        """One prediction, or a ModelPredictError, for each query."""
        if not decoded:
            return []
        try:
            return self._predict_together(decoded)
        except ModelPredictError as e:
            if len(decoded) == 1:
                return [e]
        # One bad query must not spoil the others of its batch.
        answers: list[object] = []
        for query in decoded:
            try:
                answers += self._predict_together([query])
            except ModelPredictError as e:
                answers.append(e)
        return answers

    def _predict_together(self, decoded: list[object]) -> list[object]:
        try:
            returned = self._model.predict(decoded)
        except MODEL_FAILURES as e:  # model code may raise anything
            raise ModelPredictError(f"predict() failed: {user_traceback(e, self._file_name)}") from e
        try:
            return listed_predictions(returned, len(decoded))
        except ModelPredictError:
            raise
        # To read what it returned is to run model code too: it may be a generator.
        except MODEL_FAILURES as e:  # model code may raise anything
            raise ModelPredictError(f"predict() failed: {user_traceback(e, self._file_name)}") from e
