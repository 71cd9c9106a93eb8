"""``python -m benchmarks.enas``: ENAS against random architectures of the same space, at equal cost, on handwritten
digits that stand anywhere on a field.

On each of several splits: the ENAS advisor drives the bundled template for a number of trials, and its processor time
is measured; random architectures are trained in full for at least as long. Of each arm the architecture whose full
training had the best validation score is trained again, from other initial weights, and tested. A split's result is
written as soon as it is there; splits that the file holds already are not measured again.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import msgspec

from benchmarks.enas.arms import (
    FIELD,
    Found,
    Trained,
    make_enas,
    search_at_random,
    search_with_enas,
    train_in_full,
    with_epochs,
    write_split,
)
from rafiki.model import logger
from rafiki.model.base import BaseModel
from rafiki.model.loader import load_model_class_from_path
from rafiki.utils.clock import utc_now

OUT = Path(__file__).resolve().parents[1] / "results" / "enas.json"
TEMPLATE = Path(__file__).resolve().parents[2] / "templates" / "models" / "image_classification" / "enas_cnn.py"


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Both arms on one split of the data."""

    seed: int
    measured_at: datetime
    enas: Found
    random: Found
    enas_again: list[Trained]
    """The found architecture, trained from other initial weights."""
    random_again: list[Trained]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the JSON file holds."""

    field: int
    """Pixels a side of the images."""
    n_trials: int
    n_again: int
    full_epochs: int
    """Of a full training, in both arms."""
    splits: list[Split]


def measure(model_class: type[BaseModel], seed: int, n_trials: int, n_again: int, epochs: int) -> Split:
    with tempfile.TemporaryDirectory() as folder:
        paths = write_split(Path(folder), seed)
        # Loads torch's kernels and decodes the images, for both arms alike.
        train_in_full(model_class, paths, ["identity", "last", "identity"] * 4, 0, 1)
        advisor = make_enas(with_epochs(model_class, epochs), seed, n_trials)
        enas = search_with_enas(model_class, paths, n_trials, advisor)
        random = search_at_random(model_class, paths, seed, enas.cost_s, epochs)
        seeds = range(1, n_again + 1)
        enas_again = [train_in_full(model_class, paths, enas.best.cell, s, epochs) for s in seeds]
        random_again = [train_in_full(model_class, paths, random.best.cell, s, epochs) for s in seeds]
    model_class.teardown()
    return Split(
        seed=seed, measured_at=utc_now(), enas=enas, random=random, enas_again=enas_again, random_again=random_again
    )


def _mean(trained: list[Trained]) -> float:
    return statistics.fmean(t.test for t in trained)


def _interval(values: list[float]) -> str:
    """Mean and half the width of its 95% confidence interval (Student's t)."""
    if len(values) < 2:
        return f"{100 * values[0]:.2f}"
    from scipy import stats

    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{100 * statistics.fmean(values):.2f} ± {100 * half:.2f}"


def _after(random: Found, n: int) -> Trained:
    """What random search had found after its first ``n`` trainings."""
    return max(random.trained[:n], key=lambda t: t.val)


def as_text(report: Report) -> str:
    """The tables in Markdown; accuracies in per cent, intervals of 95%."""
    splits = report.splits
    enas, best = [_mean(s.enas_again) for s in splits], [_mean(s.random_again) for s in splits]
    average = [_mean(s.random.trained) for s in splits]
    counts = [len(s.random.trained) for s in splits]
    n_random = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else f"{counts[0]}"
    cost = statistics.fmean(s.enas.cost_s for s in splits)
    cost_random = statistics.fmean(s.random.cost_s for s in splits)
    full_s = statistics.fmean(s.random.cost_s / len(s.random.trained) for s in splits)
    n_won = sum(a > b for a, b in zip(enas, best, strict=True))
    rows = [
        "| architecture | test accuracy, % | cost, s |",
        "| --- | --- | --- |",
        f"| found by ENAS in {report.n_trials} trials | {_interval(enas)} | {cost:.1f} |",
        f"| best of {n_random} random ones, trained in full | {_interval(best)} | {cost_random:.1f} |",
        f"| a random one | {_interval(average)} | {full_s:.1f} |",
        "",
        f"ENAS less the best random one: {_interval([a - b for a, b in zip(enas, best, strict=True)])}, "
        f"better on {n_won} of {len(splits)} splits; "
        f"less a random one: {_interval([a - b for a, b in zip(enas, average, strict=True)])}. "
        f"{report.full_epochs} epochs a full training, {report.n_again} further trainings of each architecture that "
        "was found.",
        "",
        "| random trainings | cost, s | their best network, test accuracy, % | ENAS's network less it |",
        "| --- | --- | --- | --- |",
    ]
    for n in range(1, min(counts) + 1):
        found = [_after(s.random, n).test for s in splits]
        lead = [s.enas.best.test - test for s, test in zip(splits, found, strict=True)]
        rows.append(f"| {n} | {n * full_s:.1f} | {_interval(found)} | {_interval(lead)} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enas", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=24, help="splits of the data (24)")
    parser.add_argument("--first-seed", type=int, default=20, help="of the first split (20)")
    parser.add_argument("--trials", type=int, default=240, help="trials of each search (240)")
    parser.add_argument("--again", type=int, default=2, help="trainings of each architecture that was found (2)")
    parser.add_argument("--epochs", type=int, default=100, help="of a full training (100)")
    parser.add_argument("--out", type=Path, default=OUT, help="the JSON file (benchmarks/results/enas.json)")
    options = parser.parse_args(arguments)
    logger.set_sink(lambda entry: None)
    model_class = load_model_class_from_path(TEMPLATE, "EnasCnn")
    report = Report(field=FIELD, n_trials=options.trials, n_again=options.again, full_epochs=options.epochs, splits=[])
    if options.out.is_file():
        held = msgspec.json.decode(options.out.read_bytes(), type=Report)
        if msgspec.structs.replace(held, splits=[]) == report:
            report = held
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        if any(s.seed == seed for s in report.splits):
            continue
        split = measure(model_class, seed, options.trials, options.again, options.epochs)
        report = msgspec.structs.replace(report, splits=[*report.splits, split])
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
        print(
            f"split {seed}: ENAS {_mean(split.enas_again):.4f} {split.enas.trials} {split.enas.seconds}, best of "
            f"{len(split.random.trained)} random {_mean(split.random_again):.4f}, a random one "
            f"{_mean(split.random.trained):.4f}; {split.enas.cost_s:.1f} s and {split.random.cost_s:.1f} s",
            file=sys.stderr, flush=True,
        )  # fmt: skip
    print(as_text(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
