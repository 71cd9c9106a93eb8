"""What an export says of itself in manifest.json, and what its check shows."""

from __future__ import annotations

from typing import TypedDict

from rafiki.knob_specs import Knobs
from rafiki.utils.values import JsonObject, JsonValue


class StoredFile(TypedDict):
    """A file of the export."""

    path: str
    sha256: str


class Member(TypedDict):
    """A trial of the ensemble."""

    trial_id: str
    name: str
    model: str
    """Name and version: ``wine@3``."""
    model_class: str
    model_file: StoredFile
    parameters: StoredFile
    knobs: Knobs
    score: float | None
    weight: float


class Manifest(TypedDict):
    """All of an export; :mod:`rafiki.exported` reads it."""

    format: str
    format_version: int
    app: str
    app_version: int
    task: str
    rafiki_version: str
    python_version: str
    train_job_id: str
    inference_job_id: str | None
    datetime_exported: str
    ensemble: JsonObject
    members: list[Member]
    requirements: list[str]


class Trial(TypedDict):
    """What an export answered when it was tried."""

    answers: list[JsonValue]
    """One a query."""
    others: dict[str, str | None]
    """Requirement -> the version that the interpreter has instead of it; None: it has none."""


class Checked(TypedDict):
    """How an export was checked."""

    n_queries: int
    is_compared: bool
    """Whether its answers were compared with those of the running deployment."""


class ExportRecord(Manifest):
    """What ``rafiki export`` puts out."""

    folder: str
    zip: str | None
    checked: Checked | None
