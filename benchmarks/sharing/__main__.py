"""``python -m benchmarks.sharing``: processor time until a search reaches a validation score, with shared parameters
and without.

The model is the torch template ``TorchCnn``, the data are scikit-learn's handwritten digits. Trials of 2 epochs
(``short``) and of 15 (``full``) are searched by the same advisors as in a job, in one process: each by the scheme
``sharing``, whose trials go on from the best parameters so far on its schedule, and by the scheme ``bayes``, whose
trials all start afresh.

Time is the process's own (one thread), so that other programs on the machine change little. Seeds decide the
proposals and the networks' first weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from rafiki.advisor.base import Advisor
from rafiki.advisor.schemes import make_advisor
from rafiki.budget import TrainBudget
from rafiki.constants import SharePolicy
from rafiki.model.knobs import CategoricalKnob, FixedKnob, KnobConfig
from rafiki.model.loader import load_model_class_from_path
from rafiki.model.logger import logger
from rafiki.param_store.codec import decode_params, encode_params

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "sharing.json"
SHORT_EPOCHS, FULL_EPOCHS = 2, 15
WAYS = {
    "short, shared": ("sharing", SHORT_EPOCHS),
    "short, afresh": ("bayes", SHORT_EPOCHS),
    "full, shared": ("sharing", FULL_EPOCHS),
    "full, afresh": ("bayes", FULL_EPOCHS),
}


def load_file(path: Path) -> Any:
    import importlib.util

    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Search:
    """One search, trial by trial, as an advisor and one train worker run it."""

    def __init__(self, way: str, seed: int, n_trials: int, train: Path, val: Path) -> None:
        scheme, n_epochs = WAYS[way]
        self._model_class = load_model_class_from_path(
            ROOT / "templates" / "models" / "image_classification" / "cnn.py", "TorchCnn"
        )
        config: KnobConfig = self._model_class.get_knob_config() | {
            "max_epochs": FixedKnob(n_epochs),
            # Small networks, so that the benchmark ends today; the same for every search.
            "blocks": FixedKnob(2),
            "channels": CategoricalKnob([16]),
        }
        self._seed = seed
        self._paths = (str(train), str(val))
        self.advisor: Advisor = make_advisor(config, TrainBudget(model_trial_count=n_trials), seed, scheme)
        self._best: tuple[float, bytes] | None = None

    def run_trial(self, no: int) -> float:
        """The score of one trial."""
        import sys

        proposal = self.advisor.propose(no)
        # Each seed its own first weights and batches.
        sys.modules[self._model_class.__module__].SEED = 1000 * self._seed + no  # type: ignore[attr-defined]
        model = self._model_class(**proposal.knobs)
        shared = {}
        if proposal.start_from is SharePolicy.GLOBAL_BEST and self._best is not None:
            shared = {"shared_params": decode_params(self._best[1])}
        model.train(self._paths[0], **shared)
        score = float(model.evaluate(self._paths[1]))
        params = encode_params(model.dump_parameters())
        if self._best is None or score > self._best[0]:
            self._best = (score, params)
        self.advisor.feedback(no, score)
        return score


def seconds_to(
    target: float, way: str, seed: int, limits: tuple[int, float], data: tuple[Path, Path]
) -> dict[str, Any]:
    """How long it took to reach the score; ``seconds`` is None when the limit of trials or of seconds came first."""
    n_trials, most_s = limits
    search = Search(way, seed, n_trials, *data)
    started, curve = time.process_time(), []
    for no in range(1, n_trials + 1):
        score = search.run_trial(no)
        used = time.process_time() - started
        curve.append((round(used, 3), score))
        if score >= target:
            return {"way": way, "seed": seed, "seconds": used, "trials": no, "curve": curve}
        if used > most_s:
            break
    return {"way": way, "seed": seed, "seconds": None, "trials": len(curve), "curve": curve}


def median_with_interval(values: list[float | None], most_s: float) -> tuple[float, float, float]:
    """Median, and the 95% interval of its bootstrap; a search that did not get there counts with the limit."""
    import random

    filled = [most_s if v is None else v for v in values]
    rng = random.Random(0)
    draws = sorted(statistics.median(rng.choices(filled, k=len(filled))) for _ in range(2000))
    return statistics.median(filled), draws[50], draws[-51]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--target", type=float, default=0.985)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--most-s", type=float, default=60.0, help="the most seconds of one search")
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    logger.set_sink(lambda entry: None)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        write_digits = load_file(ROOT / "examples" / "datasets" / "load_digits.py").write_digits
        train, val, _ = write_digits(Path(folder))
        for seed in range(options.seeds):
            for way in WAYS:
                limits = (options.trials, options.most_s)
                runs.append(seconds_to(options.target, way, seed, limits, (train, val)))
                print(
                    seed, way, runs[-1]["seconds"], runs[-1]["trials"], max(s for _, s in runs[-1]["curve"]), flush=True
                )
    print(f"\nProcessor seconds to a validation score of {options.target} ({options.seeds} seeds):")
    summary = {}
    for way in WAYS:
        seconds = [r["seconds"] for r in runs if r["way"] == way]
        median, low, high = median_with_interval(seconds, options.most_s)
        reached = sum(s is not None for s in seconds)
        summary[way] = {"median_s": median, "low_s": low, "high_s": high, "reached": reached, "searches": len(seconds)}
        interval = f"95% of the bootstrap: {low:.1f} to {high:.1f}"
        print(f"  {way:13} median {median:6.1f} s ({interval}); reached {reached} of {len(seconds)}")
    if not options.no_write:
        RESULTS.write_text(json.dumps({"target": options.target, "summary": summary, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
