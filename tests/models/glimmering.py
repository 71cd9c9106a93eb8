"""A model that cannot even be imported without its package; it answers with the version that it got."""

import sys

import glimmer

from rafiki.model import BaseModel, FloatKnob


class Glimmering(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, float(glimmer.VERSION.split(".")[0]))}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.x = knobs["x"]

    def train(self, dataset_path, shared_params=None, **train_args):
        print("trained with", glimmer.VERSION)

    def evaluate(self, dataset_path):
        return self.x

    def predict(self, queries):
        return [{"glimmer": glimmer.VERSION, "python": sys.executable} for _ in queries]

    def dump_parameters(self):
        return {"x": self.x}

    def load_parameters(self, params):
        self.x = params["x"]
