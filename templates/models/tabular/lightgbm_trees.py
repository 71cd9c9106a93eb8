"""LightGBM on a table: gradient boosting with leaf-wise trees that split on categories themselves.

Missing values and text categories need no care. The trained trees are kept as LightGBM's own text format.

Dependencies: lightgbm >= 4.
"""

import json
import os

import numpy as np

from rafiki.model import BaseModel, FloatKnob, IntegerKnob, utils

# Below so many rows, starting a thread costs more than it saves.
ROWS_A_THREAD = 10_000


class _LightGbm(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            "learning_rate": FloatKnob(0.02, 0.3, is_exp=True),
            "n_rounds": IntegerKnob(50, 400, is_exp=True),
            "num_leaves": IntegerKnob(4, 48, is_exp=True),
            "min_data_in_leaf": IntegerKnob(3, 40, is_exp=True),
            "lambda_l2": FloatKnob(1e-3, 10.0, is_exp=True),
            "feature_fraction": FloatKnob(0.5, 1.0),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs
        self._classes = []

    def train(self, dataset_path, shared_params=None, features=None, target=None, **train_args):
        import lightgbm

        dataset = utils.dataset.load_dataset_of_table(dataset_path, features, target)
        self._target = dataset.target
        self._encoder = utils.dataset.FeatureEncoder.fit(dataset)
        values, objective = self._read_target(dataset)
        rows = lightgbm.Dataset(
            self._encoder.encode(dataset),
            values,
            categorical_feature=np.flatnonzero(self._encoder.is_category).tolist(),
            free_raw_data=True,
        )
        knobs = {name: value for name, value in self._knobs.items() if name != "n_rounds"}
        threads = max(1, min(os.cpu_count() or 1, len(dataset) // ROWS_A_THREAD))
        settings = {**knobs, **objective, "seed": 0, "num_threads": threads, "verbosity": -1, "deterministic": True}
        self._booster = lightgbm.train(settings, rows, num_boost_round=self._knobs["n_rounds"])
        utils.logger.log(f"Grew {self._booster.num_trees()} trees on {len(dataset)} rows.")

    def dump_parameters(self):
        return {
            "encoder": self._encoder.to_json(),
            "target": self._target,
            "classes": json.dumps(self._classes),
            "booster": self._booster.model_to_string(),
        }

    def load_parameters(self, params):
        import lightgbm

        self._encoder = utils.dataset.FeatureEncoder.from_json(params["encoder"])
        self._target = params["target"]
        self._classes = json.loads(params["classes"])
        self._booster = lightgbm.Booster(model_str=params["booster"])

    def _predict(self, encoded):
        threads = max(1, min(os.cpu_count() or 1, len(encoded) // ROWS_A_THREAD))
        return self._booster.predict(encoded, num_threads=threads)

    def _load(self, dataset_path):
        dataset = utils.dataset.load_dataset_of_table(dataset_path, self._encoder.features, self._target)
        return dataset, self._predict(self._encoder.encode(dataset))


class LightGbmClassifier(_LightGbm):
    """TABULAR_CLASSIFICATION. One probability a class: numbers by size, then texts by alphabet."""

    def _read_target(self, dataset):
        self._classes = dataset.target_classes()
        objective = {"objective": "multiclass", "num_class": len(self._classes)}
        return dataset.target_class_indices(self._classes), objective

    def evaluate(self, dataset_path):
        dataset, probabilities = self._load(dataset_path)
        return float(np.mean(probabilities.argmax(axis=1) == dataset.target_class_indices(self._classes)))

    def predict(self, queries):
        return self._predict(self._encoder.encode_queries(queries)).tolist()


class LightGbmRegressor(_LightGbm):
    """TABULAR_REGRESSION. The score is R2, the share of the target's variance that is explained."""

    def _read_target(self, dataset):
        return dataset.target_numbers(), {"objective": "regression"}

    def evaluate(self, dataset_path):
        dataset, numbers = self._load(dataset_path)
        target = dataset.target_numbers()
        return float(1 - np.mean((target - numbers) ** 2) / max(target.var(), 1e-300))

    def predict(self, queries):
        return self._predict(self._encoder.encode_queries(queries)).tolist()
