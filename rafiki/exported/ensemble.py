"""The ensemble of an exported folder, in one process."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rafiki.errors import DamagedFileError, InvalidQueryError, ModelPredictError, NoPredictionError, RafikiError
from rafiki.knob_specs import Knobs
from rafiki.messages import Reply
from rafiki.model.serving import Outcome, ServedModel, load_trained_model
from rafiki.param_store.codec import decode_params
from rafiki.predictor.ensemble import combine
from rafiki.tasks.registry import get_task
from rafiki.utils.mismatch import explain_json

MANIFEST = "manifest.json"


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the export, and what it has to hold."""

    path: str
    sha256: str


class ManifestMember(msgspec.Struct, frozen=True, kw_only=True):
    """One trial of the ensemble."""

    trial_id: str
    name: str
    """``SkSvm#10``."""
    model_class: str
    model_file: ManifestFile
    parameters: ManifestFile
    knobs: Knobs
    weight: float


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What running the export needs of ``manifest.json``; more stands in it, for people."""

    app: str
    app_version: int
    task: str
    rafiki_version: str
    members: list[ManifestMember]
    """The best first."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one query."""

    prediction: bytes | None = None
    """As JSON."""
    error: RafikiError | None = None
    """Why there is no prediction."""
    left_out: list[str] = []
    """Trial ids of members that failed on this query."""


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an exported folder.

    Raises:
        DamagedFileError: when it is not there or cannot be read.
    """
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as e:
        raise DamagedFileError(f"{folder} is no export: it has no {MANIFEST}.") from e
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise DamagedFileError(f"{folder / MANIFEST} is damaged: {explain_json(data, Manifest)}.") from e


def _read(folder: Path, file: ManifestFile) -> bytes:
    try:
        data = (folder / file.path).read_bytes()
    except OSError as e:
        raise DamagedFileError(f"{folder / file.path} cannot be read: {e.strerror}.") from e
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DamagedFileError(
            f"{folder / file.path} is not what was exported: its SHA-256 differs from the one in {MANIFEST}."
        )
    return data


class Ensemble:
    """All members, loaded. For one thread at a time: models need not bear more.

    Raises:
        DamagedFileError: when a file is not what was exported.
        ModelError: when a model does not load, such as for want of a package.
    """

    def __init__(self, folder: Path) -> None:
        self.manifest = read_manifest(folder)
        self._task = get_task(self.manifest.task)
        self._models = [
            ServedModel(
                load_trained_model(
                    _read(folder, m.model_file), m.model_class, m.knobs, decode_params(_read(folder, m.parameters)),
                    Path(m.model_file.path).name,
                ),
                self._task,
                Path(m.model_file.path).name,
            )
            for m in self.manifest.members
        ]  # fmt: skip
        weights = [m.weight for m in self.manifest.members]
        self._weights = weights if len(set(weights)) > 1 else None

    def answer(self, queries: Sequence[bytes]) -> list[Answer]:
        """What becomes of each query, one JSON value each: every member predicts, and the task's rule joins them."""
        columns = [[_reply(outcome) for outcome in model.answer(queries)] for model in self._models]
        return [self._combine([column[row] for column in columns]) for row in range(len(queries))]

    def close(self) -> None:
        """Let the models clean up."""
        for model in self._models:
            model.close()

    def _combine(self, replies: list[Reply]) -> Answer:
        members = zip(self.manifest.members, replies, strict=True)
        left_out = [m.trial_id for m, reply in members if reply.status != "ok"]
        try:
            return Answer(prediction=combine(self._task, replies, self._weights), left_out=left_out)
        except (InvalidQueryError, ModelPredictError, NoPredictionError) as e:
            return Answer(error=e, left_out=left_out)


def _reply(outcome: Outcome) -> Reply:
    if isinstance(outcome, bytes):
        return Reply(0, "ok", outcome)
    text = outcome.message.encode(errors="replace")
    return Reply(0, "invalid_query" if isinstance(outcome, InvalidQueryError) else "model_error", text)
