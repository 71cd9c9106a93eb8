"""Evaluations that were made before, kept on disk: every scheme pays for a point once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from benchmarks.search import problems
from benchmarks.search.problems import Problem

_DIGITS = 12
"""Significant digits by which two settings of a float are the same."""
_DEFINITIONS = hashlib.sha256(Path(problems.__file__).read_bytes()).hexdigest()[:16]
"""A score is of no use to problems that are defined otherwise."""


class Evaluations:
    """A table of scores by problem and rounded knobs. Several processes may use one file."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS scores (problem TEXT, knobs TEXT, score REAL, PRIMARY KEY (problem, knobs))"
        )

    def score(self, problem: Problem, knobs: dict[str, Any]) -> float | None:
        """The problem's score with these knobs; None when the model cannot be trained with them."""
        rounded = {k: float(f"{v:.{_DIGITS}g}") if isinstance(v, float) else v for k, v in sorted(knobs.items())}
        key = (f"{problem.name}/{_DEFINITIONS}", json.dumps(rounded))
        row = self._db.execute("SELECT score FROM scores WHERE problem = ? AND knobs = ?", key).fetchone()
        if row is None:
            row = (problem.evaluate(rounded),)
            self._db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (*key, row[0]))
        return None if row[0] is None else float(row[0])
