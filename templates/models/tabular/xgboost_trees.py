"""XGBoost on a table: gradient boosting with regularised trees that split on categories themselves.

Missing values and text categories need no care. The trained trees are kept in XGBoost's own binary JSON (UBJSON).

Dependencies: xgboost >= 2 (or xgboost-cpu, the same without GPUs and far smaller).
"""

import json
import os

import numpy as np

from rafiki.model import BaseModel, FloatKnob, IntegerKnob, utils

# Below so many rows, starting a thread costs more than it saves.
ROWS_A_THREAD = 10_000


class _XgBoost(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            "eta": FloatKnob(0.02, 0.3, is_exp=True),
            "n_rounds": IntegerKnob(50, 400, is_exp=True),
            "max_depth": IntegerKnob(2, 8),
            "min_child_weight": FloatKnob(0.5, 20.0, is_exp=True),
            "subsample": FloatKnob(0.5, 1.0),
            "colsample_bytree": FloatKnob(0.5, 1.0),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs
        self._classes = []

    def train(self, dataset_path, shared_params=None, features=None, target=None, **train_args):
        import xgboost

        dataset = utils.dataset.load_dataset_of_table(dataset_path, features, target)
        self._target = dataset.target
        self._encoder = utils.dataset.FeatureEncoder.fit(dataset)
        values, objective = self._read_target(dataset)
        rows = self._to_matrix(self._encoder.encode(dataset), values)
        knobs = {name: value for name, value in self._knobs.items() if name != "n_rounds"}
        settings = {**knobs, **objective, "seed": 0, "nthread": _threads(len(dataset)), "tree_method": "hist"}
        self._booster = xgboost.train(settings, rows, num_boost_round=self._knobs["n_rounds"])
        utils.logger.log(f"Ran {self._booster.num_boosted_rounds()} rounds on {len(dataset)} rows.")

    def dump_parameters(self):
        return {
            "encoder": self._encoder.to_json(),
            "target": self._target,
            "classes": json.dumps(self._classes),
            "booster": np.frombuffer(self._booster.save_raw("ubj"), np.uint8),
        }

    def load_parameters(self, params):
        import xgboost

        self._encoder = utils.dataset.FeatureEncoder.from_json(params["encoder"])
        self._target = params["target"]
        self._classes = json.loads(params["classes"])
        self._booster = xgboost.Booster({"nthread": 1})
        self._booster.load_model(bytearray(params["booster"].tobytes()))

    def _to_matrix(self, encoded, values=None):
        import xgboost

        types = ["c" if is_category else "q" for is_category in self._encoder.is_category]
        return xgboost.DMatrix(
            encoded, values, feature_types=types, enable_categorical=True, nthread=_threads(len(encoded))
        )

    def _predict(self, encoded):
        return self._booster.predict(self._to_matrix(encoded))

    def _load(self, dataset_path):
        dataset = utils.dataset.load_dataset_of_table(dataset_path, self._encoder.features, self._target)
        return dataset, self._predict(self._encoder.encode(dataset))


class XgBoostClassifier(_XgBoost):
    """TABULAR_CLASSIFICATION. One probability a class: numbers by size, then texts by alphabet."""

    def _read_target(self, dataset):
        self._classes = dataset.target_classes()
        objective = {"objective": "multi:softprob", "num_class": len(self._classes)}
        return dataset.target_class_indices(self._classes), objective

    def evaluate(self, dataset_path):
        dataset, probabilities = self._load(dataset_path)
        return float(np.mean(probabilities.argmax(axis=1) == dataset.target_class_indices(self._classes)))

    def predict(self, queries):
        return self._predict(self._encoder.encode_queries(queries)).tolist()


class XgBoostRegressor(_XgBoost):
    """TABULAR_REGRESSION. The score is R2, the share of the target's variance that is explained."""

    def _read_target(self, dataset):
        return dataset.target_numbers(), {"objective": "reg:squarederror"}

    def evaluate(self, dataset_path):
        dataset, numbers = self._load(dataset_path)
        target = dataset.target_numbers()
        return float(1 - np.mean((target - numbers) ** 2) / max(target.var(), 1e-300))

    def predict(self, queries):
        return self._predict(self._encoder.encode_queries(queries)).tolist()


def _threads(n_rows):
    return max(1, min(os.cpu_count() or 1, n_rows // ROWS_A_THREAD))
