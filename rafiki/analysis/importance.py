"""Which knobs of a model mattered, as plain values for people and programs. Pure, with numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rafiki.analysis import ped_anova
from rafiki.analysis.dimensions import Dimension, dimensions_of
from rafiki.constants import TrialStatus
from rafiki.utils.words import NOTHING, count, number

Json = dict[str, Any]
Trials = Sequence[Mapping[str, Any]]
FEW_TRIALS = 30
_UNEQUAL_POLICIES = ("QUICK_EVAL", "SKIP_TRAIN", "DOWNSCALE")
"""Trials with and without these do not compare: what is scored is another thing."""


def comparable(trials: Trials, knob_config: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """The scored trials whose scores mean the same; where policies made several kinds, those of the commonest kind."""
    scored = [t for t in trials if t["status"] == TrialStatus.COMPLETED and _is_number(t["score"])]
    switches = [n for n, spec in (knob_config or {}).items() if spec.get("policy") in _UNEQUAL_POLICIES]
    kinds: dict[tuple[bool, ...], list[Mapping[str, Any]]] = {}
    for trial in scored:
        kinds.setdefault(tuple(bool(_knobs(trial).get(n)) for n in switches), []).append(trial)
    return max(kinds.values(), key=len, default=[])


def importance_of(model_name: str, trials: Trials, knob_config: Mapping[str, Any] | None, quantile: float) -> Json:
    """The importance of each knob of a model.

    Args:
        trials: of this model alone, of any status.
        knob_config: the model's knobs, where they can be had.
        quantile: the part of the trials that counts as the best.

    Returns:
        ``model_name``, ``trial_count`` (those used), ``quantile``, ``top_count`` and ``threshold`` (how many count as
        the best, and the lowest of their scores), ``knobs`` (the most important first; empty with a ``note`` that says
        why), ``constant`` (knobs of one value) and ``note``.
    """
    used = comparable(trials, knob_config)
    found: Json = {
        "model_name": model_name, "trial_count": len(used), "quantile": quantile, "top_count": 0, "threshold": None,
        "knobs": [], "constant": {}, "note": None,
    }  # fmt: skip
    if len(used) < ped_anova.LEAST_TRIALS:
        few = count(len(used), "scored trial")
        found["note"] = f"{few}: too few to tell which knobs mattered. It takes {ped_anova.LEAST_TRIALS}."
        return found
    dimensions, constant = dimensions_of([_knobs(t) for t in used], knob_config)
    found["constant"] = constant
    scores = [float(t["score"]) for t in used]
    top = ped_anova.is_top(np.asarray(scores), quantile)
    found["top_count"] = int(top.sum())
    found["threshold"] = float(np.asarray(scores)[top].min())
    if not dimensions:
        found["note"] = "No knob had more than one value."
        return found
    if len(set(scores)) == 1:
        found["note"] = f"All {len(used)} trials have the score {scores[0]:.4f}, so no knob mattered."
        return found
    by_name = {d.name: d for d in dimensions}
    found["knobs"] = [
        {
            "knob": one.name, "importance": one.share, "low": one.low, "high": one.high, "chance": one.chance,
            "is_clear": one.is_clear, "best": region(by_name[one.name], one.region),
        }
        for one in ped_anova.importances(dimensions, scores, quantile)
    ]  # fmt: skip
    if len(used) < FEW_TRIALS:
        found["note"] = f"{len(used)} trials are few: look at the intervals more than at the shares."
    elif not any(k["is_clear"] for k in found["knobs"]):
        found["note"] = "No knob mattered more than chance alone explains."
    return found


def region(dimension: Dimension, cells: Sequence[int]) -> Json:
    """Where the best trials are denser than all: ``values`` of a choice, or ``low`` and ``high``; and the ``text``."""
    if not cells:
        return {"text": NOTHING}
    if not dimension.is_ordered:
        chosen = [dimension.labels[i] for i in cells]
        return {"values": chosen, "text": ", ".join(chosen)}
    first, last = cells[0], cells[-1]
    low, high = dimension.edges[first], dimension.edges[last + 1]
    if dimension.is_whole:
        # A cell holds its lower edge and not its upper one; rounding errors must not lose a whole number.
        low, high = float(math.ceil(low * (1 - 1e-9))), float(math.ceil(high * (1 - 1e-9)) - 1)
    return {"low": low, "high": high, "text": _range_text(dimension, low, high, first == 0, last == dimension.size - 1)}


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


def marginal_of(name: str, trials: Trials, knob_config: Mapping[str, Any] | None, quantile: float) -> Json | None:
    """The scores over one knob: of numbers every trial and a smooth curve, of choices what each of them reached.

    Returns:
        None where the model has no such dimension with more than one value. Else ``knob``, ``is_log``, ``is_whole``,
        and ``x``, ``score``, ``curve`` (``x`` and ``y``) and ``best`` of an ordered knob, or ``choices``.
    """
    used = comparable(trials, knob_config)
    dimensions, _ = dimensions_of([_knobs(t) for t in used], knob_config)
    dimension = next((d for d in dimensions if d.name == name), None)
    if dimension is None:
        return None
    scores = np.array([float(t["score"]) for t in used])
    top = ped_anova.is_top(scores, quantile) if len(used) > 1 else np.ones(len(used), dtype=bool)
    found: Json = {"knob": name, "is_log": dimension.is_log, "is_whole": dimension.is_whole}
    if not dimension.is_ordered:
        found["choices"] = _choices(dimension, scores, top)
        return found
    known = [i for i, v in enumerate(dimension.raw) if v is not None]
    x = [float(dimension.raw[i] or 0.0) for i in known]
    found |= {"x": x, "score": scores[known].tolist(), "curve": _curve(dimension, x, scores[known])}
    found["best"] = region(dimension, ped_anova.best_region(dimension, top))
    return found


def _choices(dimension: Dimension, scores: Any, top: Any) -> list[Json]:
    rows = []
    for cell, label in enumerate(dimension.labels):
        own = dimension.cells == cell
        count = int(own.sum())
        rows.append({
            "value": label, "trials": count, "mean": float(scores[own].mean()) if count else None,
            "best": float(scores[own].max()) if count else None, "among_best": int((own & top).sum()),
            "among_best_share": float((own & top).sum() / count) if count else None,
        })  # fmt: skip
    untried = (-1.0, -math.inf)
    # Not by the mean: that says as much of the other knobs of those trials.
    return sorted(rows, key=lambda r: (r["among_best_share"], r["mean"]) if r["trials"] else untried, reverse=True)


def _curve(dimension: Dimension, x: Sequence[float], scores: Any, count: int = 60) -> Json:
    """A kernel regression (Nadaraya and Watson, 1964) over the range of x, with the width of Scott's rule."""
    place = np.log(x) if dimension.is_log else np.asarray(x)
    at = np.linspace(place.min(), place.max(), count)
    width = max(1.059 * float(place.std(ddof=1)) * len(x) ** -0.2, float(at[1] - at[0]))
    weights = np.exp(-0.5 * ((at[:, None] - place[None, :]) / width) ** 2)
    y = weights @ scores / weights.sum(axis=1)
    return {"x": (np.exp(at) if dimension.is_log else at).tolist(), "y": y.tolist()}


def _knobs(trial: Mapping[str, Any]) -> Mapping[str, Any]:
    return trial["proposal"].get("knobs") or {}


def _is_number(score: Any) -> bool:
    return score is not None and math.isfinite(score)
