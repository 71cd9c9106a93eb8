"""A model that does nothing, with four knobs and a score worth searching: what is left is the advisor's work."""

import math
import time

import numpy as np

from rafiki.model import BaseModel, CategoricalKnob, FloatKnob, IntegerKnob


class NoopBayes(BaseModel):
    n_trained = 0

    @staticmethod
    def get_knob_config():
        return {
            "rate": FloatKnob(1e-5, 1.0, is_exp=True),
            "momentum": FloatKnob(0.0, 1.0),
            "n_layers": IntegerKnob(1, 64),
            "kernel": CategoricalKnob(["linear", "poly", "rbf"]),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.knobs = knobs

    def train(self, dataset_path, shared_params=None, hold_after=None, **train_args):
        # Holding the trial after the measured ones keeps the job's processes alive, so that they can be looked at.
        if hold_after is not None and NoopBayes.n_trained >= hold_after:
            time.sleep(60.0)
        NoopBayes.n_trained += 1

    def evaluate(self, dataset_path):
        k = self.knobs
        rate = (math.log10(k["rate"]) + 2.5) ** 2 / 4
        layers = ((k["n_layers"] - 20) / 64) ** 2
        ripple = 0.1 * math.sin(9 * k["momentum"])
        kernel = {"linear": 0.2, "poly": 0.1, "rbf": 0.0}[k["kernel"]]
        return 1.0 - rate - (k["momentum"] - 0.6) ** 2 - layers - kernel + ripple

    def predict(self, queries):
        return [0.0 for _ in queries]

    def dump_parameters(self):
        return {"weights": np.zeros(16)}

    def load_parameters(self, params):
        """Nothing was learnt."""
