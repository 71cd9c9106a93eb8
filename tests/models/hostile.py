"""A model that does what its train argument ``do`` names: what goes wrong in trials, and what only looks so."""

import os
import sys

import numpy as np

from rafiki.model import BaseModel, FloatKnob, utils


class Hostile(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0)}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.do = ""
        self.x = knobs["x"]

    def train(self, dataset_path, shared_params=None, do="", once=None, **train_args):
        self.do = do
        if once is not None:
            # Only the first trial of the job does it: the file tells the later ones.
            try:
                os.close(os.open(once, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                self.do = ""
                return
        match do:
            case "raise":
                raise ValueError("the learning rate\nis too high")
            case "raise without words":
                raise AssertionError
            case "raise at length":
                raise ValueError("x" * 1_000_000)
            case "raise what cannot be printed":
                raise UnprintableError
            case "exit":
                sys.exit(3)
            case "hard exit":
                os._exit(7)
            case "recurse":
                self.train(dataset_path, do=do)
            case "out of memory":
                raise MemoryError
            case "log a lot":
                for i in range(200_000):
                    utils.logger.log(f"line {i}")
            case "log strange numbers":
                utils.logger.log(loss=float("nan"), big=float("inf"), count=np.int64(3), ratio=np.float32(0.5))
            case "log strange text":
                utils.logger.log("NUL \0, half a pair \ud800, " + "long " * 10_000)
            case "log text as a metric":
                utils.logger.log(loss="high")
            case "print a lot":
                print("x" * 5_000_000)
            case "raise KeyboardInterrupt":
                raise KeyboardInterrupt
            case "raise GeneratorExit":
                raise GeneratorExit("no more")

    def evaluate(self, dataset_path):
        scores = {
            "score NaN": float("nan"), "score infinite": float("-inf"), "score text": "0.5", "score None": None,
            "score numpy": np.float64(0.5), "score array": np.array([0.5, 0.6]), "score huge": 10**400,
            "score one-element array": np.array(0.25),
        }  # fmt: skip
        return scores.get(self.do, self.x)

    def predict(self, queries):
        return queries

    def dump_parameters(self):
        params = {
            "params object array": {"trees": np.array([{"a": 1}, None], dtype=object)},
            "params a list": [1, 2, 3],
            "params None": None,
            "params with a model": {"model": self},
            "params numpy": {"n": np.int64(3), "f": np.float32(0.5), "b": np.bool_(True), "s": np.str_("text")},
            "params empty": {},
        }
        return params.get(self.do, {"x": self.x})

    def load_parameters(self, params):
        self.x = params["x"]


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("no words for this")
