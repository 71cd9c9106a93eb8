"""A small network for two classes in numpy, with a plot of its own."""

from __future__ import annotations

import csv
from typing import Any

import numpy as np

from rafiki.model import BaseModel, CategoricalKnob, FixedKnob, FloatKnob, IntegerKnob, utils

_ACTIVATIONS = {
    "relu": (lambda x: np.maximum(x, 0.0), lambda y: (y > 0).astype(float)),
    "tanh": (np.tanh, lambda y: 1.0 - y**2),
    "linear": (lambda x: x, np.ones_like),
}


def _read(path: str) -> tuple[np.ndarray, np.ndarray]:
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row["x"]), float(row["y"])] for row in rows]), np.array([int(row["label"]) for row in rows])


class SmallNet(BaseModel):
    """One hidden layer, trained by gradient descent on all examples at once."""

    @staticmethod
    def get_knob_config() -> dict[str, Any]:
        return {
            "learning_rate": FloatKnob(1e-3, 0.3, is_exp=True),
            "hidden": IntegerKnob(1, 32, is_exp=True),
            "activation": CategoricalKnob(["relu", "tanh", "linear"]),
            "decay": FloatKnob(1e-6, 1e-2, is_exp=True),
            "epochs": FixedKnob(60),
        }

    def __init__(self, **knobs: Any) -> None:
        super().__init__(**knobs)
        self._knobs = knobs
        self._weights: list[np.ndarray] = []

    def train(self, dataset_path: str, **_: Any) -> None:
        utils.logger.define_plot("Loss over epochs", ["loss", "val_loss"], x_axis="epoch")
        x, labels = _read(dataset_path)
        part = len(x) * 4 // 5
        generator = np.random.default_rng(0)
        hidden = self._knobs["hidden"]
        self._weights = [generator.normal(size=(3, hidden)), generator.normal(size=(hidden + 1, 1)) / np.sqrt(hidden)]
        for epoch in range(1, self._knobs["epochs"] + 1):
            for _step in range(40):
                self._descend(x[:part], labels[:part])
            losses = [self._loss(x[a], labels[a]) for a in (slice(None, part), slice(part, None))]
            utils.logger.log(loss=losses[0], val_loss=losses[1], epoch=epoch)

    def evaluate(self, dataset_path: str) -> float:
        x, labels = _read(dataset_path)
        return float(np.mean((self._forward(x)[1] > 0.5) == labels))

    def predict(self, queries: list[Any]) -> list[Any]:
        x = np.array([[float(query["x"]), float(query["y"])] for query in queries])
        return [[1.0 - p, p] for p in self._forward(x)[1].tolist()]

    def dump_parameters(self) -> dict[str, Any]:
        return {"first": self._weights[0], "second": self._weights[1]}

    def load_parameters(self, params: dict[str, Any]) -> None:
        self._weights = [params["first"], params["second"]]

    def _forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        function, _ = _ACTIVATIONS[self._knobs["activation"]]
        middle = function(_with_one(x) @ self._weights[0])
        return middle, 1.0 / (1.0 + np.exp(-np.clip(_with_one(middle) @ self._weights[1], -30, 30)[:, 0]))

    def _loss(self, x: np.ndarray, labels: np.ndarray) -> float:
        p = np.clip(self._forward(x)[1], 1e-6, 1 - 1e-6)
        return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))

    def _descend(self, x: np.ndarray, labels: np.ndarray) -> None:
        _, slope = _ACTIVATIONS[self._knobs["activation"]]
        middle, p = self._forward(x)
        error = ((p - labels) / len(x))[:, None]
        back = (error @ self._weights[1][:-1].T) * slope(middle)
        steps = [_with_one(x).T @ back, _with_one(middle).T @ error]
        for weights, step in zip(self._weights, steps, strict=True):
            weights -= self._knobs["learning_rate"] * (step + self._knobs["decay"] * weights)


def _with_one(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)
