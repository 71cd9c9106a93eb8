"""The two ways to spend a cost on architectures: the ENAS advisor with the bundled template, and random search."""

from __future__ import annotations

import random
import time
import zipfile
from collections import defaultdict
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from PIL import Image

from rafiki.advisor.base import Advisor, Ask, SearchSetup
from rafiki.advisor.enas import EnasAdvisor
from rafiki.advisor.enas_scheme import EnasOptions
from rafiki.model.base import BaseModel
from rafiki.model.knobs import ArchKnob, FixedKnob, KnobConfig, Knobs
from rafiki.param_store.codec import decode_params, encode_params

PARTS = {"train": 200, "val": 600, "test": 997}
"""Few to train on: with the usual thousand nearly every architecture of the space reads nearly every digit."""
FIELD = 16
"""Pixels a side of the field on which a digit of 8 x 8 pixels stands anywhere. On scans that are cut to their digits
architectures differ little."""

Cell = list[str]


class Paths(NamedTuple):
    train: str
    val: str
    test: str


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """One architecture, trained in full."""

    cell: Cell
    val: float
    test: float


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one arm found on one split, and what it spent. Seconds are of the processor, in this process."""

    best: Trained
    """By its validation score, of all that were trained in full."""
    trained: list[Trained]
    cost_s: float
    seconds: dict[str, float] = {}
    """By phase; ``advisor`` is proposals and what is learnt of scores."""
    trials: dict[str, int] = {}


def write_split(folder: Path, seed: int) -> Paths:
    """scikit-learn's handwritten digits at random places of a field, split at random, for IMAGE_CLASSIFICATION."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digits.images))
    size = digits.images.shape[1]
    fields = np.zeros((len(order), FIELD, FIELD), np.uint8)
    for field, image, (y, x) in zip(
        fields, digits.images, rng.integers(0, FIELD - size + 1, (len(order), 2)), strict=True
    ):
        field[y : y + size, x : x + size] = (image * 255 / 16).round()
    paths, start = [], 0
    for name, n in PARTS.items():
        paths.append(folder / f"{name}.zip")
        rows = ["path,class"]
        with zipfile.ZipFile(paths[-1], "w") as archive:
            for i in order[start : start + n]:
                png = BytesIO()
                Image.fromarray(fields[i]).save(png, format="PNG")
                archive.writestr(f"{i}.png", png.getvalue())
                rows.append(f"{i}.png,{digits.target[i]}")
            archive.writestr("images.csv", "\n".join(rows) + "\n")
        start += n
    return Paths(*map(str, paths))


def knobs_for_full_training(config: KnobConfig, cell: Cell, seed: int) -> Knobs:
    """Those of a trial that trains ``cell`` in full, from other initial weights for another seed."""
    knobs: Knobs = {name: knob.value.value if isinstance(knob, FixedKnob) else False for name, knob in config.items()}
    return {**knobs, "cell": cell, "seed": seed}


def train_in_full(model_class: type[BaseModel], paths: Paths, cell: Cell, seed: int, max_epochs: int) -> Trained:
    model = model_class(**knobs_for_full_training(with_epochs(model_class, max_epochs), cell, seed))
    model.train(paths.train)
    return Trained(cell=cell, val=model.evaluate(paths.val), test=model.evaluate(paths.test))


def with_epochs(model_class: type[BaseModel], max_epochs: int) -> KnobConfig:
    """The template's knobs, with full trainings of so many epochs."""
    return {**model_class.get_knob_config(), "max_epochs": FixedKnob(max_epochs)}


def search_with_enas(model_class: type[BaseModel], paths: Paths, n_trials: int, advisor: Advisor) -> Found:
    """One worker's life: shared parameters pass through the format in which the cache holds them."""
    seconds: defaultdict[str, float] = defaultdict(float)
    trials: defaultdict[str, int] = defaultdict(int)
    shared: bytes | None = None
    trained: list[Trained] = []
    for no in range(1, n_trials + 1):
        started = time.process_time()
        proposal = advisor.propose(no, Ask(worker_id="worker", budget_used=(no - 1) / n_trials))
        proposed = time.process_time()
        model = model_class(**proposal.knobs)
        is_started = proposal.start_from is not None and shared is not None
        model.train(paths.train, **({"shared_params": decode_params(shared)} if is_started and shared else {}))
        score = model.evaluate(paths.val)
        params = encode_params(model.dump_parameters())
        evaluated = time.process_time()
        advisor.feedback(no, score)
        learnt = time.process_time()
        phase = proposal.phase
        if phase == "train":
            shared = params
        if phase == "full":
            trained.append(Trained(cell=proposal.knobs["cell"], val=score, test=model.evaluate(paths.test)))
        seconds["advisor"] += proposed - started + learnt - evaluated
        seconds[phase] += evaluated - proposed
        trials[phase] += 1
    return Found(
        best=max(trained, key=lambda t: t.val), trained=trained, cost_s=sum(seconds.values()),
        seconds={name: round(s, 2) for name, s in seconds.items()}, trials=dict(trials),
    )  # fmt: skip


def search_at_random(model_class: type[BaseModel], paths: Paths, seed: int, cost_s: float, max_epochs: int) -> Found:
    """Random architectures trained in full until at least ``cost_s`` is spent. Their test scores cost nothing."""
    config = with_epochs(model_class, max_epochs)
    cell_knob = config["cell"]
    assert isinstance(cell_knob, ArchKnob)
    rng = random.Random(f"random/{seed}")
    trained: list[Trained] = []
    spent = 0.0
    while spent < cost_s:
        cell: Cell = [str(rng.choice(candidates).value) for candidates in cell_knob.items]
        started = time.process_time()
        model = model_class(**knobs_for_full_training(config, cell, 0))
        model.train(paths.train)
        val = model.evaluate(paths.val)
        encode_params(model.dump_parameters())
        spent += time.process_time() - started
        trained.append(Trained(cell=cell, val=val, test=model.evaluate(paths.test)))
    return Found(
        best=max(trained, key=lambda t: t.val), trained=trained, cost_s=spent, trials={"full": len(trained)}
    )  # fmt: skip


def make_enas(config: KnobConfig, seed: int, n_trials: int, **options: Any) -> EnasAdvisor:
    return EnasAdvisor(
        SearchSetup(knob_config=config, seed=seed, trial_limit=n_trials, options=EnasOptions(**options))
    )  # fmt: skip
