"""What quickstart does at the admin. Each step can be taken again: what is there already is used."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rafiki.budget import TrainBudget
from rafiki.constants import ExistingName, InferenceJobStatus, Task
from rafiki.contract.inference_jobs import CreateInferenceJobRequest
from rafiki.contract.train_jobs import CreateTrainJobRequest
from rafiki.errors import StackError
from rafiki.utils.clock import Deadline
from rafiki.utils.process import wait_until
from rafiki_cli.render.train_watch import is_over
from rafiki_cli.scaffold.assets import find_asset

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.datasets import DatasetView
    from rafiki.contract.inference_jobs import InferenceJobView

APP = "digits"
TASK = Task.IMAGE_CLASSIFICATION
MODELS = {"SkDt": "decision_tree.py", "SkSvm": "svm.py"}
DEPLOY_TIMEOUT_S = 60.0


def upload_dataset(client: AdminClient, file: Path) -> DatasetView:
    """The dataset of the file's name and contents: uploaded unless it is there already."""
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    for dataset in client.get_datasets(TASK):
        if dataset.name == file.stem and dataset.sha256 == sha256:
            return dataset
    return client.create_dataset(file.stem, TASK, file)


def upload_model(client: AdminClient, model_class: str) -> str:
    """The id of the bundled template: uploaded unless its newest version is just that.

    Raises:
        StackError: when the template does not load on this stack, with the reason.
    """
    file = find_asset("templates", f"models/image_classification/{MODELS[model_class]}")
    created = client.create_model(
        model_class, TASK, file, model_class, {"scikit-learn": ">=1.4"}, existing_name=ExistingName.VERSION
    )
    if created.load_error:
        raise StackError(f"The template {file} does not load: {created.load_error}")
    return created.id


def start_training(
    client: AdminClient,
    train: DatasetView,
    val: DatasetView,
    model_ids: list[str],
    trials: int,
    workers: int,
    say: Callable[[str], None],
) -> tuple[str, int]:
    """App and version of a train job of the app; one that an interrupted quickstart left running is gone on with."""
    for job in client.get_train_jobs_of_app(APP):
        if not is_over(job):
            say(f"A train job of {APP!r} runs already (version {job.app_version}); going on with it.")
            return job.app, job.app_version
    budget = TrainBudget(model_trial_count=trials, cpu_worker_count=workers, time_hours=0.1)
    created = client.create_train_job(
        CreateTrainJobRequest(
            app=APP, task=TASK, train_dataset_id=train.id, val_dataset_id=val.id, budget=budget, model_ids=model_ids
        )
    )
    return created.app, created.app_version


def deploy(client: AdminClient, version: int) -> InferenceJobView:
    """The running inference job of the app's version; those of older versions are stopped.

    Raises:
        StackError: when it is not running within a minute, or ended, with the reason.
    """
    live = (InferenceJobStatus.STARTED, InferenceJobStatus.RUNNING)
    running = [j for j in client.get_inference_jobs_of_app(APP) if j.status in live]
    for job in running:
        if job.app_version != version:
            client.stop_inference_job(APP, job.app_version)
    if not any(j.app_version == version for j in running):
        client.create_inference_job(CreateInferenceJobRequest(app=APP, app_version=version))

    def look() -> InferenceJobView:
        return next(j for j in client.get_inference_jobs_of_app(APP) if j.app_version == version)

    wait_until(lambda: look().status != InferenceJobStatus.STARTED, Deadline(DEPLOY_TIMEOUT_S))
    last = look()
    if last.status != InferenceJobStatus.RUNNING or not last.predictor_host:
        raise StackError(
            f"The inference job of {APP!r} is {last.status}: {last.error or 'it did not start in time'}. "
            "See `rafiki status` and `rafiki logs`."
        )
    return last
