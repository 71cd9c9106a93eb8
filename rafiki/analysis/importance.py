"""Which knobs of a model mattered, as plain values for people and programs. Pure, with numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from rafiki.analysis import ped_anova
from rafiki.analysis.dimensions import Dimension, dimensions_of
from rafiki.constants import TrialStatus
from rafiki.contract.train_jobs import TrialView
from rafiki.knob_specs import KnobSpecs, PolicyKnobSpec, Scalar
from rafiki.utils.words import NOTHING, count, number

Trials = Sequence[TrialView]
FEW_TRIALS = 30
_UNEQUAL_POLICIES = ("QUICK_EVAL", "SKIP_TRAIN", "DOWNSCALE")
"""Trials with and without these do not compare: what is scored is another thing."""


class Region(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the best trials are denser than all: ``values`` of a choice, or ``low`` and ``high``."""

    values: list[str] | None = None
    low: float | None = None
    high: float | None = None
    text: str
    """The region in words."""


class KnobImportance(msgspec.Struct, frozen=True, kw_only=True):
    knob: str
    importance: float
    """Its share of what set the best apart, 0 to 1."""
    low: float
    """Of the 90% interval of that share."""
    high: float
    chance: float
    """What share chance alone would have given it."""
    is_clear: bool
    """Whether it mattered more than chance explains."""
    best: Region


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """The importance of each knob of a model."""

    model_name: str
    trial_count: int
    """Trials that were used."""
    quantile: float
    top_count: int = 0
    """How many count as the best."""
    threshold: float | None = None
    """The lowest of their scores."""
    knobs: list[KnobImportance] = []
    """The most important first; empty with a ``note`` that says why."""
    constant: dict[str, Scalar | list[Scalar] | None] = {}
    """Knobs of one value."""
    note: str | None = None


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    x: list[float]
    y: list[float]


class NumberMarginal(msgspec.Struct, frozen=True, kw_only=True):
    """The scores over a knob of numbers."""

    knob: str
    is_log: bool
    is_whole: bool
    x: list[float]
    """Of each trial its value."""
    score: list[float]
    """Of each trial its score."""
    curve: Curve
    best: Region


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What the trials with one value of a knob reached."""

    value: str
    trials: int
    mean: float | None
    best: float | None
    among_best: int
    among_best_share: float | None


class ChoiceMarginal(msgspec.Struct, frozen=True, kw_only=True):
    """The scores by the values of a knob of choices."""

    knob: str
    is_log: bool
    is_whole: bool
    choices: list[Choice]


def comparable(trials: Trials, knob_config: KnobSpecs | None) -> list[TrialView]:
    """The scored trials whose scores mean the same; where policies made several kinds, those of the commonest kind."""
    scored = [t for t in trials if t.status == TrialStatus.COMPLETED and _is_number(t.score)]
    specs = (knob_config or {}).items()
    switches = [n for n, s in specs if isinstance(s, PolicyKnobSpec) and s.policy in _UNEQUAL_POLICIES]
    kinds: dict[tuple[bool, ...], list[TrialView]] = {}
    for trial in scored:
        kinds.setdefault(tuple(bool(trial.proposal.knobs.get(n)) for n in switches), []).append(trial)
    return max(kinds.values(), key=len, default=[])


def importance_of(model_name: str, trials: Trials, knob_config: KnobSpecs | None, quantile: float) -> Importance:
    """The importance of each knob of a model.

    Args:
        trials: of this model alone, of any status.
        knob_config: the model's knobs, where they can be had.
        quantile: the part of the trials that counts as the best.
    """
    used = comparable(trials, knob_config)
    found = Importance(model_name=model_name, trial_count=len(used), quantile=quantile)
    if len(used) < ped_anova.LEAST_TRIALS:
        few = count(len(used), "scored trial")
        note = f"{few}: too few to tell which knobs mattered. It takes {ped_anova.LEAST_TRIALS}."
        return msgspec.structs.replace(found, note=note)
    dimensions, constant = dimensions_of([t.proposal.knobs for t in used], knob_config)
    scores = [float(t.score or 0.0) for t in used]
    top = ped_anova.is_top(np.asarray(scores), quantile)
    found = msgspec.structs.replace(
        found, constant=constant, top_count=int(top.sum()), threshold=float(np.asarray(scores)[top].min())
    )
    if not dimensions:
        return msgspec.structs.replace(found, note="No knob had more than one value.")
    if len(set(scores)) == 1:
        note = f"All {len(used)} trials have the score {scores[0]:.4f}, so no knob mattered."
        return msgspec.structs.replace(found, note=note)
    by_name = {d.name: d for d in dimensions}
    knobs = [
        KnobImportance(
            knob=one.name, importance=one.share, low=one.low, high=one.high, chance=one.chance,
            is_clear=one.is_clear, best=region(by_name[one.name], one.region),
        )
        for one in ped_anova.importances(dimensions, scores, quantile)
    ]  # fmt: skip
    about = None
    if len(used) < FEW_TRIALS:
        about = f"{len(used)} trials are few: look at the intervals more than at the shares."
    elif not any(k.is_clear for k in knobs):
        about = "No knob mattered more than chance alone explains."
    return msgspec.structs.replace(found, knobs=knobs, note=about)


def region(dimension: Dimension, cells: Sequence[int]) -> Region:
    """The part of a dimension that cells are."""
    if not cells:
        return Region(text=NOTHING)
    if not dimension.is_ordered:
        chosen = [dimension.labels[i] for i in cells]
        return Region(values=chosen, text=", ".join(chosen))
    first, last = cells[0], cells[-1]
    low, high = dimension.edges[first], dimension.edges[last + 1]
    if dimension.is_whole:
        # A cell holds its lower edge and not its upper one; rounding errors must not lose a whole number.
        low, high = float(math.ceil(low * (1 - 1e-9))), float(math.ceil(high * (1 - 1e-9)) - 1)
    is_to_end = last == dimension.size - 1
    return Region(low=low, high=high, text=_range_text(dimension, low, high, first == 0, is_to_end))


def _range_text(dimension: Dimension, low: float, high: float, is_from_start: bool, is_to_end: bool) -> str:
    def told(value: float) -> str:
        return number(value) if dimension.is_whole else number(float(f"{value:.2g}"))

    if is_from_start and is_to_end:
        return "anywhere"
    if low >= high:
        return told(low)
    if is_from_start:
        return f"up to {told(high)}"
    return f"{told(low)} and more" if is_to_end else f"{told(low)} to {told(high)}"


def marginal_of(
    name: str, trials: Trials, knob_config: KnobSpecs | None, quantile: float
) -> NumberMarginal | ChoiceMarginal | None:
    """The scores over one knob: of numbers every trial and a smooth curve, of choices what each of them reached.

    Returns:
        None where the model has no such dimension with more than one value.
    """
    used = comparable(trials, knob_config)
    dimensions, _ = dimensions_of([t.proposal.knobs for t in used], knob_config)
    dimension = next((d for d in dimensions if d.name == name), None)
    if dimension is None:
        return None
    scores = np.array([float(t.score or 0.0) for t in used])
    top = ped_anova.is_top(scores, quantile) if len(used) > 1 else np.ones(len(used), dtype=bool)
    if not dimension.is_ordered:
        choices = _choices(dimension, scores, top)
        return ChoiceMarginal(knob=name, is_log=dimension.is_log, is_whole=dimension.is_whole, choices=choices)
    known = [i for i, v in enumerate(dimension.raw) if v is not None]
    x = [float(dimension.raw[i] or 0.0) for i in known]
    return NumberMarginal(
        knob=name, is_log=dimension.is_log, is_whole=dimension.is_whole, x=x, score=scores[known].tolist(),
        curve=_curve(dimension, x, scores[known]), best=region(dimension, ped_anova.best_region(dimension, top)),
    )  # fmt: skip


def _choices(dimension: Dimension, scores: NDArray[np.float64], top: NDArray[np.bool_]) -> list[Choice]:
    rows = []
    for cell, label in enumerate(dimension.labels):
        own = dimension.cells == cell
        count = int(own.sum())
        rows.append(
            Choice(
                value=label, trials=count, mean=float(scores[own].mean()) if count else None,
                best=float(scores[own].max()) if count else None, among_best=int((own & top).sum()),
                among_best_share=float((own & top).sum() / count) if count else None,
            )
        )  # fmt: skip

    def rank(row: Choice) -> tuple[float, float]:
        if row.among_best_share is None or row.mean is None:
            return -1.0, -math.inf
        return row.among_best_share, row.mean

    # Not by the mean: that says as much of the other knobs of those trials.
    return sorted(rows, key=rank, reverse=True)


def _curve(dimension: Dimension, x: Sequence[float], scores: NDArray[np.float64], count: int = 60) -> Curve:
    """A kernel regression (Nadaraya and Watson, 1964) over the range of x, with the width of Scott's rule."""
    place = np.log(x) if dimension.is_log else np.asarray(x)
    at = np.linspace(place.min(), place.max(), count)
    width = max(1.059 * float(place.std(ddof=1)) * len(x) ** -0.2, float(at[1] - at[0]))
    weights = np.exp(-0.5 * ((at[:, None] - place[None, :]) / width) ** 2)
    y = weights @ scores / weights.sum(axis=1)
    return Curve(x=(np.exp(at) if dimension.is_log else at).tolist(), y=y.tolist())


def _is_number(score: float | None) -> bool:
    return score is not None and math.isfinite(score)
