"""What each server program shares: what it is to serve, read from the environment, and the estimator.

It grows the estimator from the training data as Rafiki's models of ``benchmarks/models`` do, so all serve the same.
"""

import os
from pathlib import Path

import msgspec
import numpy as np


class Config(msgspec.Struct, frozen=True):
    """What a server program is to serve."""

    port: int
    model: str
    """``tree``, ``forest`` or ``images``."""
    data: str
    """A .npz file of ``features`` and ``classes``."""
    batch: int
    """The largest batch; 1 = no batches."""
    wait_ms: float
    """How long a batch waits for more."""
    pids: str
    """A folder: each process that holds the model leaves a file there, called by its process id."""


class Request(msgspec.Struct):
    query: list


VARIABLE = "RAFIKI_BENCH_SERVER"
decode = msgspec.json.Decoder(Request).decode
encode = msgspec.json.Encoder().encode


def read_config() -> Config:
    return msgspec.json.decode(os.environ[VARIABLE], type=Config)


class Served:
    """The estimator in the process that predicts."""

    def __init__(self, config: Config) -> None:
        self._model = grow(config.model, config.data)
        (Path(config.pids) / str(os.getpid())).touch()

    def predict(self, queries: list) -> list:
        """One list of probabilities a query."""
        rows = np.array(queries, dtype=np.float32).reshape(len(queries), -1)
        return self._model.predict_proba(rows).tolist()


def grow(model: str, data: str):
    """The estimator of that name, fitted to the training data."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    with np.load(data) as arrays:
        features, classes = arrays["features"], arrays["classes"]
    if model == "forest":
        return RandomForestClassifier(n_estimators=100, random_state=0).fit(features, classes)
    return DecisionTreeClassifier(max_depth=16, random_state=0).fit(features, classes)
