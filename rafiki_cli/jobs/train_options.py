"""A train job as the options of `rafiki train create` say it: alone, or over a job file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rafiki.budget import TrainBudget
from rafiki.constants import BudgetOption
from rafiki.contract.train_jobs import CreateTrainJobRequest
from rafiki.errors import InvalidDatasetError, InvalidModelError
from rafiki.search_setting import AdvisorSetting
from rafiki.utils.values import JsonObject, JsonValue
from rafiki_cli.jobs.overrides import Override
from rafiki_cli.target import resolve
from rafiki_cli.terminal import UsageError
from rafiki_cli.yaml_files.placed_tree import Key

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.models import ModelView


class TrainOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the options say. None = nothing."""

    app: str | None = None
    task: str | None = None
    train: str | None = None
    """Id or name of a dataset on the server; so is ``val``."""
    val: str | None = None
    models: list[str] | None = None
    """Ids or names of models on the server."""
    trials: int | None = None
    hours: float | None = None
    gpus: int | None = None
    workers_per_gpu: int | None = None
    workers: int | None = None
    train_args: JsonObject | None = None
    scheme: str | None = None
    scheme_options: JsonObject | None = None
    first_knobs: list[JsonObject] | None = None
    early_ending: str | None = None
    warm_start: bool | None = None

    def overrides(self) -> list[Override]:
        """The values that go over those of a job file, but for the app: that one may also choose among several jobs."""
        # What stands for an id may be a name, or the beginning of an id, as everywhere on the command line.
        models: list[JsonValue] | None = None if self.models is None else [{"id": wanted} for wanted in self.models]
        values: list[tuple[str, Key, JsonValue]] = [
            ("--task", ("task",), self.task),
            ("--train", ("datasets", "train"), None if self.train is None else {"id": self.train}),
            ("--val", ("datasets", "val"), None if self.val is None else {"id": self.val}),
            ("--model", ("models",), models),
            ("--trials", ("budget", "trials"), self.trials),
            ("--hours", ("budget", "hours"), self.hours),
            ("--gpus", ("budget", "gpus"), self.gpus),
            ("--workers-per-gpu", ("budget", "workers_per_gpu"), self.workers_per_gpu),
            ("--workers", ("budget", "workers"), self.workers),
            *(("--arg", ("train_args", key), value) for key, value in (self.train_args or {}).items()),
            ("--advisor", ("advisor", "scheme"), self.scheme),
            ("--option", ("advisor", "options"), self.scheme_options),
            ("--try", ("advisor", "try"), None if self.first_knobs is None else [*self.first_knobs]),
            ("--early-ending", ("advisor", "early_ending"), self.early_ending),
            ("--warm-start", ("advisor", "warm_start"), self.warm_start),
        ]
        return [Override(key, value, option) for option, key, value in values if value is not None]

    def request(self, client: AdminClient) -> CreateTrainJobRequest:
        """The request to create it, of options that are all there is.

        Raises:
            UsageError: when something is missing.
            InvalidDatasetError, InvalidModelError: when a name means nothing, or is for another task.
        """
        given = (("--app", self.app), ("--train", self.train), ("--val", self.val))
        missing = [option for option, value in given if value is None]
        if self.app is None or self.train is None or self.val is None:
            them = "it as an option" if len(missing) == 1 else "them as options"
            raise UsageError(f"Missing: {', '.join(missing)}. Give {them} or in a job file (-f).")
        train = resolve.dataset(client, self.train)
        val = resolve.dataset(client, self.val)
        task = self.task or train.task
        for option, dataset in (("--train", train), ("--val", val)):
            if dataset.task != task:
                raise InvalidDatasetError(
                    f"{option}: the dataset {dataset.name!r} is for {dataset.task}, not for {task}."
                )
        return CreateTrainJobRequest(
            app=self.app,
            task=task,
            train_dataset_id=train.id,
            val_dataset_id=val.id,
            budget=TrainBudget.from_request(self._budget()),
            model_ids=None if self.models is None else [_model_for(client, m, task).id for m in self.models],
            train_args=self.train_args or None,
            advisor=AdvisorSetting.from_request(self._advisor()),
        )

    def _budget(self) -> dict[str, float]:
        budget = {
            BudgetOption.MODEL_TRIAL_COUNT: self.trials,
            BudgetOption.TIME_HOURS: self.hours,
            BudgetOption.GPU_COUNT: self.gpus,
            BudgetOption.CPU_WORKER_COUNT: self.workers,
            BudgetOption.WORKERS_PER_GPU: self.workers_per_gpu,
        }
        return {str(option): value for option, value in budget.items() if value is not None}

    def _advisor(self) -> dict[str, object]:
        advisor = {
            "scheme": self.scheme,
            "options": self.scheme_options,
            "first_knobs": self.first_knobs,
            "early_ending": self.early_ending,
            "warm_start": self.warm_start,
        }
        return {name: value for name, value in advisor.items() if value is not None}


def _model_for(client: AdminClient, wanted: str, task: str) -> ModelView:
    """A model of the task; of the same name, one of that task goes before others.

    Raises:
        InvalidModelError: when there is none, or it is for another task.
    """
    found = resolve.model(client, wanted, task)
    if found.task != task:
        raise InvalidModelError(f"The model {found.ref!r} is for {found.task}, not for {task}.")
    return found
