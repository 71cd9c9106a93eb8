"""A model that trains in small steps, notes each one in a file, and saves its state after each."""

import os
import time

from rafiki.model import BaseModel, FixedKnob, FloatKnob, utils

N_STEPS = 40
STEP_S = 0.02


class Steps(BaseModel):
    @staticmethod
    def get_knob_config():
        return {"x": FloatKnob(0.0, 1.0), "size": FixedKnob(4)}

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.x = knobs["x"]
        self.total = 0

    def train(
        self,
        dataset_path,
        shared_params=None,
        notes=os.devnull,
        gate=None,
        waits_at=N_STEPS + 1,
        step_s=STEP_S,
        **train_args,
    ):
        """Waits from the step ``waits_at`` on until a test makes the file ``gate``."""
        found = utils.checkpoint.load()
        done = 0
        if found is not None:
            self.total, done = found[0]["total"], found[1]
        for step in range(done + 1, N_STEPS + 1):
            time.sleep(step_s)
            self.total += step
            with open(notes, "a") as file:
                file.write(f"{os.getpid()} {step}\n")
            utils.logger.report_score(step / N_STEPS, step)
            is_saved = utils.checkpoint.save({"total": self.total}, step)
            while step >= waits_at and not os.path.exists(gate):
                time.sleep(0.01)
                # It may be due only now.
                is_saved = is_saved or utils.checkpoint.save({"total": self.total}, step)

    def evaluate(self, dataset_path):
        return self.total / 1000

    def predict(self, queries):
        return queries

    def dump_parameters(self):
        return {"total": self.total}

    def load_parameters(self, params):
        self.total = params["total"]
