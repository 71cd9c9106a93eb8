"""A model that does nothing, so that a trial costs what the system around it costs. Its knobs mean random search."""

import time

import numpy as np

from rafiki.model import ArchKnob, BaseModel, FloatKnob


class NoopRandom(BaseModel):
    n_trained = 0

    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0), "cells": ArchKnob([[0, 1, 2], [0, 1, 2]])}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.x = knobs["x"]

    def train(self, dataset_path, shared_params=None, hold_after=None, pause_s=0.0, **train_args):
        # Holding the trial after the measured ones keeps the job's processes alive, so that they can be looked at.
        if hold_after is not None and NoopRandom.n_trained >= hold_after:
            time.sleep(60.0)
        time.sleep(pause_s)
        NoopRandom.n_trained += 1

    def evaluate(self, dataset_path):
        return 1.0 - (self.x - 0.3) ** 2

    def predict(self, queries):
        return [self.x for _ in queries]

    def dump_parameters(self):
        return {"weights": np.full(16, self.x)}

    def load_parameters(self, params):
        self.x = float(params["weights"][0])
