"""A model that reports a score after each epoch; how good it gets is decided by its knobs."""

import time

from rafiki.model import BaseModel, FloatKnob, IntegerKnob, PolicyKnob, utils


class Scored(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            "x": FloatKnob(0.0, 1.0),
            "low": IntegerKnob(1, 8),
            "high": IntegerKnob(1, 8),
            "share": PolicyKnob("SHARE_PARAMS"),
        }

    @staticmethod
    def get_knob_constraints():
        return ["low <= high"]

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.knobs = knobs
        self.n_epochs = 0
        self.start = 0.0

    def train(self, dataset_path, shared_params=None, n_epochs=1, epoch_s=0.0, **train_args):
        if shared_params is not None:
            self.start = shared_params["reached"]
        for epoch in range(1, n_epochs + 1):
            self.n_epochs = epoch
            time.sleep(epoch_s)
            utils.logger.report_score(self._score(), epoch)

    def _score(self):
        return self.knobs["x"] * self.n_epochs + 0.01 * self.start

    def evaluate(self, dataset_path):
        return self._score()

    def predict(self, queries):
        return [{"x": self.knobs["x"], "epochs": self.n_epochs} for _ in queries]

    def dump_parameters(self):
        return {"n_epochs": self.n_epochs, "reached": self._score()}

    def load_parameters(self, params):
        self.n_epochs = params["n_epochs"]
