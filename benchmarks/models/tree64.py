"""scikit-learn's decision tree on 64 numbers (a custom task: a query is a list of 64 numbers).

The parameters are the training data: loading grows the same tree again, so what is served is scikit-learn's own
predict_proba().
"""

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from rafiki.model import BaseModel, FixedKnob


class Tree64(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"max_depth": FixedKnob(16)}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._max_depth = knobs["max_depth"]

    def train(self, dataset_path, shared_params=None, **train_args):
        table = np.loadtxt(dataset_path, delimiter=",", dtype=np.float32)
        self._grow(table[:, :-1], table[:, -1].astype(np.int64))

    def _grow(self, features, classes):
        self._features, self._classes = features, classes
        self._model = DecisionTreeClassifier(max_depth=self._max_depth, random_state=0).fit(features, classes)

    def evaluate(self, dataset_path):
        table = np.loadtxt(dataset_path, delimiter=",", dtype=np.float32)
        return float(self._model.score(table[:, :-1], table[:, -1]))

    def predict(self, queries):
        return list(self._model.predict_proba(np.array(queries, dtype=np.float32)))

    def dump_parameters(self):
        return {"features": self._features, "classes": self._classes}

    def load_parameters(self, params):
        self._grow(params["features"], params["classes"])
