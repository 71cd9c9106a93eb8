"""What the tasks have in common whose predictions are one probability a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rafiki.errors import ModelPredictError
from rafiki.tasks.base import encode_probabilities, mean_of_lists
from rafiki.tasks.validation import CombiningTask

if TYPE_CHECKING:
    from rafiki.tasks.model_library import ModelLibrary
    from rafiki.tasks.validation import Packed


class ProbabilityTask(CombiningTask):
    """Predictions: k probabilities; the ensemble: their mean. A label is the index of a class, -1 for none."""

    metric = "accuracy"

    def encode_prediction(self, prediction: Any) -> bytes:
        return encode_probabilities(prediction)

    def ensemble(self, predictions: list[Any], weights: Sequence[float] | None = None) -> list[float]:
        return mean_of_lists(predictions, weights)

    def pack(self, labels: Sequence[Any], predictions: Sequence[Any]) -> Packed:
        import numpy as np

        if len({len(p) for p in predictions}) != 1:
            raise ModelPredictError("predict() did not return the same number of probabilities for all queries.")
        return {"labels": np.array(labels, np.int32), "predictions": np.array(predictions, np.float32)}

    def library(self, packed: Sequence[Packed]) -> ModelLibrary:
        from rafiki.tasks.model_library import ProbabilityLibrary

        return ProbabilityLibrary(packed)
