"""Python, and what is installed in it."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rafiki import distribution
from rafiki_cli.doctor.findings import Finding, ok, problem, skipped, warning
from rafiki_cli.doctor.subject import Subject

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_LEAST_PYTHON = (3, 11)
_EXTRAS = {
    "templates": "the bundled models that use scikit-learn or LightGBM, and quickstart",
    "torch": "the bundled neural networks",
    "xgboost": "the bundled XGBoost models",
    "search": "the search schemes tpe and cmaes",
    "audio": "flac files in speech corpora",
    "s3": "datasets and parameters on S3",
}


def check_python(subject: Subject) -> Iterator[Finding]:
    version = platform.python_version()
    if sys.version_info < _LEAST_PYTHON:
        least = ".".join(map(str, _LEAST_PYTHON))
        yield problem("Python", f"{version}, but Rafiki needs {least} or newer.", f"Install Python {least} or newer.")
    elif sys.prefix == sys.base_prefix:
        yield ok("Python", f"{version} in {sys.prefix}, which is no virtual environment.")
    else:
        yield ok("Python", f"{version} in the virtual environment {sys.prefix}.")


def check_packages(subject: Subject) -> Iterator[Finding]:
    """Rafiki's own requirements."""
    requirements = _requirements(None)
    if requirements is None:
        yield skipped("packages", "Rafiki runs from its sources; what it needs is not known.")
        return
    wrong = [text for r in requirements if (text := _complaint(r)) is not None]
    if not wrong:
        yield ok("packages", f"All {len(requirements)} that Rafiki needs fit.")
        return
    for text in wrong:
        yield problem("packages", text, f"Install what Rafiki needs: {distribution.install_command(None)}.")


def check_extras(subject: Subject) -> Iterator[Finding]:
    """What only some models and search schemes need."""
    for extra, purpose in _EXTRAS.items():
        requirements = _requirements(extra)
        name = f"extra {extra}"
        cure = distribution.install_command(extra)
        if not requirements:
            continue
        there = [r for r in requirements if _version(r.name)]
        wrong = [text for r in there if (text := _complaint(r)) is not None]
        if wrong:
            yield warning(name, f"{'; '.join(wrong)} It is for {purpose}.", cure)
        elif not there:
            yield skipped(name, f"Not installed. It is for {purpose}.", cure)
        elif len(there) < len(requirements):
            missing = ", ".join(r.name for r in requirements if r not in there)
            yield skipped(name, f"Without {missing}. It is for {purpose}.", cure)
        else:
            yield ok(name, ", ".join(f"{r.name} {_version(r.name)}" for r in requirements))


def _requirements(extra: str | None) -> list[Requirement] | None:
    """Those that hold on this system, of Rafiki or of one of its extras; None when it is not installed."""
    from packaging.requirements import Requirement

    try:
        lines = importlib.metadata.requires(distribution.NAME) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = []
    for r in map(Requirement, lines):
        always = r.marker is None or r.marker.evaluate({"extra": ""})
        if always if extra is None else not always and r.marker is not None and r.marker.evaluate({"extra": extra}):
            found.append(r)
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _complaint(r: Requirement) -> str | None:
    version = _version(r.name)
    if version is None:
        return f"{r.name} is not installed."
    if not r.specifier.contains(version, prereleases=True):
        return f"{r.name} {version} is installed, but {r.specifier} is needed."
    return None
