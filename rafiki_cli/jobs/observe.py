"""What of a job is on the server already: read, never changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import msgspec

from rafiki.constants import InferenceJobStatus
from rafiki.contract.datasets import DatasetView
from rafiki.contract.inference_jobs import InferenceJobView
from rafiki.contract.models import ModelView
from rafiki.contract.train_jobs import TrainJobView
from rafiki.errors import InvalidDatasetError, InvalidModelError
from rafiki_cli.jobs.content import ModelContent, hash_file
from rafiki_cli.jobs.load import LoadedJob
from rafiki_cli.jobs.spec import DatasetSource, ModelSource
from rafiki_cli.target import resolve

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient

LIVE = (InferenceJobStatus.STARTED, InferenceJobStatus.RUNNING)


class WantedDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset of a job, and the one on the server that is it."""

    part: str
    """``train`` or ``val``."""
    source: DatasetSource
    file: Path | None
    sha256: str | None
    """Of the contents; None for a URL that was not fetched yet."""
    size_bytes: int | None
    upload_name: str
    found: DatasetView | None

    def is_same_as(self, other: WantedDataset) -> bool:
        """Whether both are one dataset, as far as that is known: their contents, or the address, are the same."""
        if self.source.url is not None and self.source.url == other.source.url:
            return True
        return self.sha256 is not None and self.sha256 == other.sha256


class WantedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model of a job, and the one on the server that is it."""

    source: ModelSource
    file: Path | None
    content: str
    """Tells apart what trains differently: a hash of the file, the class and the packages."""
    upload_name: str
    found: ModelView | None
    newest: ModelView | None = None
    """The newest version of the user's model of that name: what is uploaded becomes the next one."""
    changes: list[str] = []
    """What it differs from that one in, in words."""


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """A job beside what its server holds."""

    task: str
    datasets: list[WantedDataset]
    models: list[WantedModel]
    train_jobs: list[TrainJobView]
    """Those of the app, newest first."""
    has_result: bool
    """Whether the newest of them has a trial that can be served."""
    inference_jobs: list[InferenceJobView]
    """The live ones of the app, newest first."""


def observe(client: AdminClient, job: LoadedJob) -> Observed:
    """Look up what the job names, and what equals what it would upload.

    Raises:
        RafikiError: when a name or id means nothing, or is for another task; with its place in the file.
    """
    me = client.get_current_user().id
    datasets = client.get_datasets()
    models = client.get_available_models(all_versions=True)
    named = {part: _named_dataset(job, part, datasets) for part in ("train", "val")}
    named_models = [_named_model(job, i, models, me) for i in range(len(job.models))]
    task = _task(job, named, named_models)
    for part, dataset in named.items():
        if dataset and dataset.task != task:
            raise job.error(("datasets", part), f"the dataset {dataset.name!r} is for {dataset.task}, not for {task}.")
    for i, model in enumerate(named_models):
        if model and model.task != task:
            raise job.error(("models", i), f"the model {model.ref!r} is for {model.task}, not for {task}.")
    own = [m for m in models if m.user_id == me]
    train_jobs = client.get_train_jobs_of_app(job.spec.app)
    return Observed(
        task=task,
        datasets=[
            _dataset(job, part, source, task, named[part], datasets)
            for part, source in (("train", job.train), ("val", job.val))
        ],
        models=[
            _model(job, i, source, task, named_models[i], own) for i, source in enumerate(job.models)
        ],
        train_jobs=train_jobs,
        has_result=bool(train_jobs)
        and bool(client.get_best_trials_of_train_job(job.spec.app, train_jobs[0].app_version, max_count=1)),
        inference_jobs=[j for j in client.get_inference_jobs_of_app(job.spec.app) if j.status in LIVE],
    )  # fmt: skip


def _named_dataset(job: LoadedJob, part: str, datasets: list[DatasetView]) -> DatasetView | None:
    source = job.train if part == "train" else job.val
    wanted = source.name or source.id
    if wanted is None:
        return None
    try:
        return resolve.choose(datasets, wanted, "dataset", InvalidDatasetError)
    except InvalidDatasetError as e:
        hint = " A file is meant? Write its path: `path: ...`." if source.name else ""
        raise job.placed(("datasets", part), e.with_message(e.message + hint)) from e


def _named_model(job: LoadedJob, i: int, models: list[ModelView], user_id: str) -> ModelView | None:
    source = job.models[i]
    if source.file is not None:
        return None
    key = "id" if source.id else "name"
    wanted = source.id or source.name or ""
    try:
        return resolve.choose_model(models, wanted, user_id, job.spec.task)
    except InvalidModelError as e:
        raise job.placed(("models", i, key), e) from e


def _task(job: LoadedJob, named: dict[str, DatasetView | None], models: list[ModelView | None]) -> str:
    """The job's task, from whatever tells it."""
    if job.spec.task is not None:
        return job.spec.task
    for found in [*named.values(), *models]:
        if found:
            return found.task
    for i, source in enumerate(job.models):
        if source.template:
            from rafiki_cli.scaffold.catalogue import get_template

            return get_template(job.spec.models[i].template or "").task
    raise job.error((), "`task` is missing, and nothing here tells it. Write it: `task: IMAGE_CLASSIFICATION`.")


def _dataset(
    job: LoadedJob, part: str, source: DatasetSource, task: str, named: DatasetView | None, datasets: list[DatasetView]
) -> WantedDataset:
    if named is not None:
        return WantedDataset(
            part=part, source=source, file=None, sha256=named.sha256, size_bytes=named.size_bytes,
            upload_name=named.name, found=named,
        )  # fmt: skip
    rows = [d for d in datasets if d.task == task]
    if source.url is not None:
        # What an address holds is not known before it is fetched, so a dataset of an address goes by a name of its own.
        name = f"{source.as_ or _name_of_url(source.url)}-{hashlib.sha256(source.url.encode()).hexdigest()[:8]}"
        found = next((d for d in rows if d.name == name), None)
        return WantedDataset(
            part=part, source=source, file=None, sha256=found.sha256 if found else None,
            size_bytes=found.size_bytes if found else None, upload_name=name, found=found,
        )  # fmt: skip
    file = job.path(source.path or "")
    sha256 = hash_file(file)
    name = source.as_ or file.stem
    same = [d for d in rows if d.sha256 == sha256]
    found = next((d for d in same if d.name == name), same[0] if same else None)
    return WantedDataset(
        part=part, source=source, file=file, sha256=sha256, size_bytes=file.stat().st_size, upload_name=name,
        found=found,
    )  # fmt: skip


def _name_of_url(url: str) -> str:
    return Path(unquote(urlsplit(url).path)).stem or "dataset"


def _model(
    job: LoadedJob, i: int, source: ModelSource, task: str, named: ModelView | None, own: list[ModelView]
) -> WantedModel:  # fmt: skip
    if named is not None:
        content = ModelContent.of_row(named)
        return WantedModel(source=source, file=None, content=content.train_hash, upload_name=named.name, found=named)
    file = job.path(source.file or "")
    content = ModelContent(
        file_sha256=hash_file(file), model_class=source.class_ or "", task=task,
        dependencies=source.dependencies or {}, access=source.access.upper(), image=source.docker_image,
    )  # fmt: skip
    # One that did not load is uploaded again: what it lacked may be there now.
    same = [m for m in own if not m.load_error and ModelContent.of_row(m) == content]
    name = source.name or source.class_ or ""
    # Newest first; under another name, as earlier versions of Rafiki gave to what had changed, it is the same too.
    found = min(same, key=lambda m: (m.name != name, -m.version), default=None)
    newest = max((m for m in own if m.name == name), key=lambda m: m.version, default=None)
    return WantedModel(
        source=source, file=file, content=content.train_hash, upload_name=name, found=found, newest=newest,
        changes=content.changes_since(ModelContent.of_row(newest)) if newest else [],
    )  # fmt: skip
