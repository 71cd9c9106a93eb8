"""What the nearest job.yaml says of a model file: its class, task, datasets and arguments."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rafiki.config import environment
from rafiki.utils.values import JsonObject
from rafiki_cli.jobs.load import find_model_entry
from rafiki_cli.jobs.spec import DatasetSource

JOB_FILE = "job.yaml"


@dataclass(frozen=True)
class JobDefaults:
    """What a job file says. None = nothing that means something without a stack."""

    origin: Path
    model_class: str | None = None
    task: str | None = None
    train: Path | None = None
    val: Path | None = None
    train_args: JsonObject = field(default_factory=dict)
    dependencies: dict[str, str] = field(default_factory=dict)


def find_job_defaults(model_file: Path) -> JobDefaults | None:
    """What the nearest job.yaml above a model file says of it; None where there is none, or it names other files.

    Raises:
        UsageError: when that file is no YAML, or what it says of the model is wrong.
    """
    found = next((f for p in model_file.resolve().parents if (f := p / JOB_FILE).is_file()), None)
    entry = None if found is None else find_model_entry(found, model_file, environment())
    if found is None or entry is None:
        return None
    return JobDefaults(
        origin=found,
        model_class=_known(entry.model.class_),
        task=_known(entry.task),
        train=_file(found, entry.train),
        val=_file(found, entry.val),
        train_args=entry.train_args,
        dependencies=entry.model.dependencies or {},
    )


def _known(text: str | None) -> str | None:
    # What the environment fills in may be known only where the job runs.
    return text if text is not None and "${" not in text else None


def _file(origin: Path, source: DatasetSource | None) -> Path | None:
    """A dataset that is a file here; URLs, names and ids on a server are none."""
    path = None if source is None or source.path is None else origin.parent / Path(source.path).expanduser()
    return path if path is not None and path.is_file() else None
