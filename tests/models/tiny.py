"""A model that fits in milliseconds, for tests of everything around it. Its task is custom: any file is its dataset."""

import contextlib
import os
import time

import numpy as np

from rafiki.model import BaseModel, FixedKnob, FloatKnob, utils


def pass_gate(gate, n_free):
    """Wait until a test opens the gate, that is, makes the file; ``n_free`` trainings pass it before."""
    for n in range(n_free):
        with contextlib.suppress(FileExistsError):
            os.close(os.open(f"{gate}.{n}", os.O_CREAT | os.O_EXCL))
            return
    while not os.path.exists(gate):
        time.sleep(0.01)


class Tiny(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0), "size": FixedKnob(4)}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.x = knobs["x"]

    def train(self, dataset_path, shared_params=None, sleep_s=0.0, gate=None, n_free=0, **train_args):
        utils.logger.log(f"training in process {os.getpid()}", x=self.x)
        time.sleep(sleep_s)
        if gate is not None:
            pass_gate(gate, n_free)

    def evaluate(self, dataset_path):
        return np.float64(1.0 - (self.x - 0.3) ** 2)

    def predict(self, queries):
        return [{"x": self.x, "query": q, "pid": os.getpid()} for q in queries]

    def dump_parameters(self):
        return {"x": self.x, "weights": np.arange(4, dtype=np.float32)}

    def load_parameters(self, params):
        self.x = params["x"]
