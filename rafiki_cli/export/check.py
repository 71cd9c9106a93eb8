"""Tries an export where nothing of this process is at hand: a fresh interpreter and the exported folder alone."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from rafiki.errors import RafikiError
from rafiki.utils.values import JsonValue
from rafiki_cli.export.manifest import Trial

_TIMEOUT_S = 300.0
# Isolated (-I): neither the working folder nor PYTHONPATH can lend the export what it lacks.
_PROBE = """
import importlib.metadata, json, sys
from pathlib import Path
folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
sys.dont_write_bytecode = True
import rafiki
home = Path(rafiki.__file__).resolve()
assert folder in home.parents, f"rafiki was imported from {home}"
from rafiki.errors import RafikiError
from rafiki.exported.ensemble import Ensemble
request = json.load(sys.stdin)
found = {"others": {}, "answers": []}
for line in request["requirements"]:
    name, _, version = line.partition("==")
    try:
        there = importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        there = None
    if there != version:
        found["others"][line] = there
out = sys.stdout
# What models print is no answer.
sys.stdout = sys.stderr
try:
    ensemble = Ensemble(folder)
    for answer in ensemble.answer([json.dumps(q).encode() for q in request["queries"]]):
        if answer.error is not None:
            raise answer.error
        found["answers"].append(json.loads(answer.prediction))
except RafikiError as e:
    found["error"] = e.message
out.write(json.dumps(found))
"""


class _Answer(TypedDict, total=False):
    """What the probe prints."""

    error: str
    answers: list[JsonValue]
    others: dict[str, str | None]


class ExportCheckError(RafikiError):
    """The export does not work by itself."""


def try_export(folder: Path, python: str, requirements: Sequence[str], queries: Sequence[JsonValue]) -> Trial:
    """Load an export in an interpreter of its own and have it predict.

    Args:
        folder: the export.
        python: the interpreter; its own packages are what the export finds.
        requirements: lines of the export's requirements.txt.
        queries: what to ask.

    Raises:
        ExportCheckError: when it does not load or predict, with the reason.
    """
    folder = folder.resolve()
    try:
        child = subprocess.run(
            [python, "-I", "-c", _PROBE, str(folder)], capture_output=True, check=False, timeout=_TIMEOUT_S,
            input=json.dumps({"requirements": list(requirements), "queries": list(queries)}).encode(), cwd=folder,
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        raise ExportCheckError(f"The check of the export did not end within {_TIMEOUT_S:g} s.") from e
    except OSError as e:
        raise ExportCheckError(f"--python {python}: cannot be run: {e.strerror}.") from e
    try:
        found: _Answer = json.loads(child.stdout)
    except ValueError:
        found = {"error": (child.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]}
    if reason := found.get("error"):
        missing = [line for line, version in found.get("others", {}).items() if version is None]
        hint = f" Not installed there: {', '.join(missing)}." if missing else ""
        raise ExportCheckError(
            f"The export does not work by itself: {reason}{hint} Check it with the --python of an environment that has "
            "its requirements, or leave the check out with --no-check."
        )
    return {"answers": found["answers"], "others": found["others"]}


def first_difference(ours: Sequence[JsonValue], theirs: Sequence[JsonValue]) -> int | None:
    """The index of the first prediction that is not the same; None when all are."""
    return next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if not is_same(a, b)), None)


def is_same(a: JsonValue, b: JsonValue) -> bool:
    """Whether two predictions are equal, numbers up to what single precision makes of batches of other sizes."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(is_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(is_same(a[k], b[k]) for k in a)
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return a == b
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)
