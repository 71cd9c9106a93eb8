"""scikit-learn's random forest of 100 trees on 64 numbers (a custom task: a query is a list of 64 numbers).

The parameters are the training data: loading grows the same forest again, so what is served is scikit-learn's own
predict_proba().
"""

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from rafiki.model import BaseModel, FixedKnob


class Forest64(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"n_trees": FixedKnob(100)}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._n_trees = knobs["n_trees"]

    def train(self, dataset_path, shared_params=None, **train_args):
        table = np.loadtxt(dataset_path, delimiter=",", dtype=np.float32)
        self._grow(table[:, :-1], table[:, -1].astype(np.int64))

    def _grow(self, features, classes):
        self._features, self._classes = features, classes
        self._model = RandomForestClassifier(n_estimators=self._n_trees, random_state=0).fit(features, classes)

    def evaluate(self, dataset_path):
        table = np.loadtxt(dataset_path, delimiter=",", dtype=np.float32)
        return float(self._model.score(table[:, :-1], table[:, -1]))

    def predict(self, queries):
        return list(self._model.predict_proba(np.array(queries, dtype=np.float32)))

    def dump_parameters(self):
        return {"features": self._features, "classes": self._classes}

    def load_parameters(self, params):
        self._grow(params["features"], params["classes"])
