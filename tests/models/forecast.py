"""A model of the task SERIES_FORECAST, which a plug-in package of the tests brings. Its knob is what it adds."""

import itertools
import time

from rafiki.model import BaseModel, FloatKnob, utils


class Drift(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"drift": FloatKnob(-5.0, 5.0)}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.drift = knobs["drift"]

    def train(self, dataset_path, shared_params=None, **train_args):
        score = -abs(self.drift - 1.0)
        for step in range(1, 3 if score > -3.0 else 300):
            utils.logger.report_score(score, step)
            time.sleep(0.02)

    def evaluate(self, dataset_path):
        with open(dataset_path, encoding="utf-8") as lines:
            steps = [b - a for a, b in itertools.pairwise(map(float, lines))]
        return -sum(abs(step - self.drift) for step in steps) / len(steps)

    def predict(self, queries):
        return [query[-1] + self.drift for query in queries]

    def dump_parameters(self):
        return {"drift": self.drift}

    def load_parameters(self, params):
        self.drift = float(params["drift"])


class DriftOfItsOwn(Drift):
    """Runs with packages of its own."""

    @staticmethod
    def get_knob_config():
        import glimmer

        return {"drift": FloatKnob(-5.0, 5.0 + float(glimmer.VERSION))}
