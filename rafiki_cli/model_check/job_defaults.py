"""What the nearest job.yaml says of a model file: its class, task, datasets and arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rafiki_cli.terminal import UsageError, read_text

JOB_FILE = "job.yaml"


@dataclass(frozen=True)
class JobDefaults:
    """What a job file says. None = nothing that means something without a stack."""

    origin: Path
    model_class: str | None = None
    task: str | None = None
    train: Path | None = None
    val: Path | None = None
    train_args: dict[str, Any] = field(default_factory=dict)
    dependencies: dict[str, str] = field(default_factory=dict)


def find_job_defaults(model_file: Path) -> JobDefaults | None:
    """What the nearest job.yaml above a model file says of it; None where there is none, or it names other files.

    Raises:
        UsageError: when that file is no YAML.
    """
    found = next((f for p in model_file.resolve().parents if (f := p / JOB_FILE).is_file()), None)
    if found is None:
        return None
    import yaml

    try:
        tree = yaml.safe_load(read_text(found, "this job file"))
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UsageError(f"{found}{line}: this is not valid YAML: {getattr(e, 'problem', e)}.") from e
    jobs = tree.get("jobs", [tree]) if isinstance(tree, dict) else []
    for job in jobs if isinstance(jobs, list) else []:
        models = job.get("models") if isinstance(job, dict) else None
        for model in models if isinstance(models, list) else []:
            file = model.get("file") if isinstance(model, dict) else None
            if isinstance(file, str) and (found.parent / file).resolve() == model_file.resolve():
                return _read(found, job, model)
    return None


def _read(origin: Path, job: dict[str, Any], model: dict[str, Any]) -> JobDefaults:
    datasets = job.get("datasets")
    datasets = datasets if isinstance(datasets, dict) else {}
    return JobDefaults(
        origin=origin,
        model_class=_text(model.get("class")),
        task=_text(job.get("task")),
        train=_path(origin, datasets.get("train")),
        val=_path(origin, datasets.get("val")),
        train_args=_mapping(job.get("train_args")),
        dependencies={str(k): str(v or "") for k, v in _mapping(model.get("dependencies")).items()},
    )


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    # What the environment fills in is known only where a job runs.
    return value if isinstance(value, str) and "${" not in value else None


def _path(origin: Path, value: Any) -> Path | None:
    """A dataset that lies here; URLs, names and ids on a server are none."""
    text = _text(value.get("path") if isinstance(value, dict) else value)
    if text is None or "://" in text:
        return None
    path = origin.parent / text
    return path if path.is_file() else None
