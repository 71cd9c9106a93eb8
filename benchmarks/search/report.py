"""The measured runs as JSON and as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path

import msgspec

from benchmarks.machine import Machine
from benchmarks.search.methods import OURS, RANDOM
from benchmarks.search.problems import PROBLEMS
from benchmarks.search.runs import Run
from benchmarks.search.statistics import Comparison, Estimate, of_complete_seeds

_CHECKPOINTS = (10, 20, 30, 50)
_PACKAGES = ("numpy", "scikit-learn", "lightgbm", "optuna", "torch", "scikit-optimize")


class Report(msgspec.Struct, frozen=True, kw_only=True):
    machine: Machine
    started_at: datetime
    versions: dict[str, str]
    runs: list[Run]


def versions() -> dict[str, str]:
    """Of the packages that matter here and are installed."""
    installed = {d.metadata["Name"].lower() for d in metadata.distributions()}
    return {name: metadata.version(name) for name in _PACKAGES if name in installed}


def save(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = [
        msgspec.structs.replace(r, scores=[None if s is None else round(s, 6) for s in r.scores]) for r in report.runs
    ]
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(report, runs=rounded)) + b"\n")


def load(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report)


def as_markdown(report: Report) -> str:
    comparison = Comparison(of_complete_seeds(report.runs), RANDOM)
    present = set(comparison.problems)
    held_out = [p.name for p in PROBLEMS if p.is_held_out and p.name in present]
    trials = [t for t in _CHECKPOINTS if t <= comparison.n_trials]
    last = comparison.n_trials
    parts = [
        _describe(report, comparison),
        "Normalised score (0 = median of random draws, 1 = best of all runs), mean with 95% interval:",
        _table(
            ["method", *(f"{t} trials" for t in trials)],
            ([m, *(_cell(comparison.score(m, t)) for t in trials)] for m in comparison.methods),
        ),
        "Mean rank among the methods on the same problem and seed (1 = best), with 95% interval:",
        _table(
            ["method", *(f"{t} trials" for t in trials)],
            ([m, *(_cell(comparison.rank(m, t), 2) for t in trials)] for m in comparison.methods),
        ),
        f"{OURS} less each other method, paired by problem and seed; searches won, level, lost at {last}:",
        _table(
            ["against", *(f"{t} trials" for t in trials), f"held out, {last} trials", "won / level / lost"],
            (_gains(comparison, m, trials, held_out) for m in comparison.methods if m != OURS),
        ),
        "Processor time a proposal (asking and telling, one core), median:",
        _table(
            ["method", "all trials", f"trials {last - 4} to {last}"],
            (_seconds(comparison, m) for m in comparison.methods),
        ),
        f"Normalised score after {last} trials by problem (`*`: held out):",
        _table(
            ["problem", *comparison.methods],
            (
                [
                    p + ("*" if p in held_out else ""),
                    *(f"{comparison.score(m, last, [p]).value:.3f}" for m in comparison.methods),
                ]
                for p in comparison.problems
            ),
        ),
    ]
    return "\n\n".join(parts)


def _describe(report: Report, comparison: Comparison) -> str:
    versions_told = ", ".join(f"{k} {v}" for k, v in report.versions.items())
    m = report.machine
    return (
        f"{len(comparison.problems)} problems, {len(comparison.seeds)} seeds, {comparison.n_trials} trials each. "
        f"{m.cpu}, {m.n_cores} cores; Python {m.python}, {versions_told}. {report.started_at:%Y-%m-%d}."
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(estimate: Estimate, digits: int = 3, sign: str = "") -> str:
    value, low, high = (f"{v:{sign}.{digits}f}" for v in estimate)
    return f"{value} ({low} to {high})"


def _gains(comparison: Comparison, method: str, trials: Sequence[int], held_out: Sequence[str]) -> list[str]:
    last = comparison.n_trials
    cells = [_cell(comparison.gain(OURS, method, t), sign="+") for t in trials]
    cells.append(_cell(comparison.gain(OURS, method, last, held_out), sign="+") if held_out else "-")
    return [method, *cells, " / ".join(str(n) for n in comparison.wins(OURS, method, last))]


def _seconds(comparison: Comparison, method: str) -> list[str]:
    return [method, *(f"{1000 * s:.3g} ms" for s in comparison.seconds(method))]
