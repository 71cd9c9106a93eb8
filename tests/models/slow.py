"""A model that takes its time for every query, and none of the processor's."""

import time

from rafiki.model import BaseModel, FixedKnob


class Slow(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"a": FixedKnob(1)}

    def train(self, dataset_path, shared_params=None, **train_args):
        pass

    def evaluate(self, dataset_path):
        return 0.5

    def predict(self, queries):
        time.sleep(0.02 * len(queries))
        return [{"echo": query} for query in queries]

    def dump_parameters(self):
        return {"a": 1}

    def load_parameters(self, params):
        pass
