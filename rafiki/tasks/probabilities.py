"""What the tasks have in common whose predictions are one probability a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from rafiki.errors import ModelPredictError
from rafiki.tasks.base import Misfit, TensorForm, encode_probabilities, mean_of_lists
from rafiki.tasks.validation import CombiningTask
from rafiki.utils.values import JsonValue

if TYPE_CHECKING:
    from rafiki.tasks.model_library import ModelLibrary
    from rafiki.tasks.validation import Packed


class ProbabilityTask(CombiningTask):
    """Predictions: k probabilities; the ensemble: their mean. A label is the index of a class, -1 for none.

    The casts: what is joined and compared here is what :meth:`encode_prediction` and :meth:`read_validation`
    returned.
    """

    metric = "accuracy"
    prediction_schema = {"type": "array", "minItems": 1, "items": {"type": "number"}}
    prediction_tensor = TensorForm("probabilities", "FP64", (-1, -1))

    def encode_prediction(self, prediction: object) -> bytes:
        return encode_probabilities(prediction)

    def find_misfit(
        self, queries: Sequence[object], predictions: Sequence[JsonValue], labels: Sequence[object] | None
    ) -> Misfit | None:
        answers = cast(Sequence[list[float]], predictions)
        n_classes = len(answers[0])
        for no, probabilities in enumerate(answers, 1):
            if len(probabilities) != n_classes:
                return Misfit(
                    f"query {no}: it returned {len(probabilities)} probabilities, for query 1 {n_classes}",
                    "Return one probability for each class of the training dataset, always in the same order.",
                )
        if (highest := max(cast(Sequence[int], labels or []), default=-1)) >= n_classes:
            return Misfit(
                f"it returned {n_classes} probabilities, but the validation dataset holds the class {highest}",
                "Return one probability for each class 0 to k-1, also for those that have few examples.",
            )
        for no, probabilities in enumerate(answers, 1):
            if min(probabilities) < -1e-6 or abs(sum(probabilities) - 1) > 1e-3:
                return Misfit(
                    f"Query {no}: the probabilities sum up to {sum(probabilities):.4g}, so this model will count for "
                    "more or less than the others of an ensemble.",
                    None,
                )
        return None

    def ensemble(self, predictions: list[JsonValue], weights: Sequence[float] | None = None) -> list[float]:
        return mean_of_lists(cast("list[list[float]]", predictions), weights)

    def pack(self, labels: Sequence[object], predictions: Sequence[JsonValue]) -> Packed:
        import numpy as np

        if len({len(p) for p in cast(Sequence[list[float]], predictions)}) != 1:
            raise ModelPredictError("predict() did not return the same number of probabilities for all queries.")
        return {"labels": np.array(labels, np.int32), "predictions": np.array(predictions, np.float32)}

    def library(self, packed: Sequence[Packed]) -> ModelLibrary:
        from rafiki.tasks.model_library import ProbabilityLibrary

        return ProbabilityLibrary(packed)
