"""A model that takes its time, and reports a score after every step."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from rafiki.model import BaseModel, FloatKnob, IntegerKnob, utils


class Slow(BaseModel):
    """Learns nothing; its score rises towards a height that its knobs set."""

    @staticmethod
    def get_knob_config() -> dict[str, Any]:
        return {"x": FloatKnob(0.0, 1.0), "size": IntegerKnob(1, 8)}

    def __init__(self, **knobs: Any) -> None:
        super().__init__(**knobs)
        self._knobs = knobs
        self._score = 0.0

    def train(self, dataset_path: str, **_: Any) -> None:
        utils.logger.log("training begins")
        height = math.exp(-8 * (self._knobs["x"] - 0.3) ** 2)
        for step in range(1, 6):
            time.sleep(0.25)
            self._score = height * (1 - math.exp(-step))
            utils.logger.log(f"epoch {step} is over", loss=round(1 - self._score, 4))
            utils.logger.report_score(round(self._score, 4), step)

    def evaluate(self, dataset_path: str) -> float:
        return self._score

    def predict(self, queries: list[Any]) -> list[Any]:
        time.sleep(0.005)
        return [[0.5, 0.5] for _ in queries]

    def dump_parameters(self) -> dict[str, Any]:
        return {"score": np.float64(self._score)}

    def load_parameters(self, params: dict[str, Any]) -> None:
        self._score = float(params["score"])
