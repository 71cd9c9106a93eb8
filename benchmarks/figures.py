"""The figures: what is measured, in which unit, and what it is held against."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from benchmarks.machine import Machine


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    name: str
    group: str
    """Figures of one group are measured together."""
    title: str
    unit: str
    first_generation: str = "-"
    """What the first generation of Rafiki took, as far as it was measured."""
    mark: float | None = None
    """To reach; None where there is none."""
    is_more_better: bool = False


FIGURES = [
    Figure(name="help", group="cli", title="`rafiki --help`", unit="ms", mark=150),
    Figure(
        name="command", group="commands", unit="x",
        title="processor time over that of `--help`: the most that a command takes which asks the admin", mark=2,
    ),
    Figure(name="up_first", group="up", title="`rafiki up` to healthy, in a new folder", unit="s", mark=2),
    Figure(name="up_again", group="up", title="`rafiki up` to healthy, later", unit="s", mark=2),
    Figure(
        name="cache_rights", group="up", title="... of which a job's rights at the cache are tried", unit="ms", mark=50
    ),
    Figure(name="down", group="up", title="`rafiki down`", unit="s"),
    Figure(
        name="train_start_noop", group="train_start", title="train job created to first trial running, no-op model",
        unit="s", first_generation="1.1-2.4", mark=1,
    ),
    Figure(
        name="train_start_tree", group="train_start", title="... `SkDt` template (Bayesian search)",
        unit="s", first_generation="1.1-2.4", mark=1,
    ),
    Figure(name="train_end", group="train_start", title="last trial finished to train job STOPPED", unit="s"),
    Figure(
        name="trial_random", group="trials", title="a trial beyond train and evaluate, random search",
        unit="ms", first_generation="139", mark=8,
    ),
    Figure(
        name="trial_bayes", group="trials", title="... Bayesian search, mean of 200",
        unit="ms", first_generation="1,019", mark=40,
    ),
    Figure(
        name="trial_bayes_last", group="trials", title="... Bayesian search, mean of the last 25",
        unit="ms", first_generation="2,260", mark=60,
    ),
    Figure(
        name="deploy", group="deploy", title="inference job created to first prediction, `SkDt` template",
        unit="s", first_generation="1.5", mark=1,
    ),
    Figure(
        name="predict_p50", group="predict", title="predict, 1 client, tree on 64 numbers, p50",
        unit="ms", first_generation="220", mark=1.5,
    ),
    Figure(name="predict_p99", group="predict", title="... p99", unit="ms"),
    Figure(
        name="predict_tree", group="predict", title="predict, 32 clients, tree on 64 numbers",
        unit="requests/s", first_generation="68", mark=4000, is_more_better=True,
    ),
    Figure(
        name="predict_images", group="predict", title="... `SkDt` template, images of 32x32x3 as JSON",
        unit="requests/s", first_generation="64", mark=1200, is_more_better=True,
    ),
    Figure(
        name="predict_forest", group="predict", title="... forest of 100 trees on 64 numbers",
        unit="requests/s", mark=1500, is_more_better=True,
    ),
    Figure(
        name="predict_forest_8", group="predict", title="... the same forest, 8 clients",
        unit="requests/s", mark=450, is_more_better=True,
    ),
    Figure(name="memory_admin", group="predict", title="memory (RSS) of the admin", unit="MB", mark=130),
    Figure(
        name="memory_advisor", group="trials", title="memory (RSS) of an advisor after 200 Bayesian trials",
        unit="MB", mark=130,
    ),
    Figure(
        name="memory_predictor", group="predict", title="memory (RSS) of a predictor after the load",
        unit="MB", mark=130,
    ),
]  # fmt: skip
BY_NAME = {figure.name: figure for figure in FIGURES}
GROUPS = list(dict.fromkeys(figure.group for figure in FIGURES))


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One figure as measured."""

    name: str
    value: float
    """The median of ``runs``."""
    runs: list[float]
    measured_at: datetime
    busy_percent: float
    """Of all cores, used by others during the second before this group of figures."""
    details: dict[str, Any] = {}

    @property
    def figure(self) -> Figure:
        return BY_NAME[self.name]

    @property
    def is_reached(self) -> bool | None:
        """Whether the mark is reached; None where there is none."""
        mark = self.figure.mark
        if mark is None:
            return None
        return self.value >= mark if self.figure.is_more_better else self.value <= mark


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What ``benchmarks/results/latest.json`` holds."""

    machine: Machine
    started_at: datetime
    is_quick: bool
    results: list[Result]
