"""Train jobs and their trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from rafiki.client.calls import Calls, warn_of_unknown_options
from rafiki.client.http_server import Progress
from rafiki.client.plain_answers import Json
from rafiki.constants import BudgetOption
from rafiki.contract import train_jobs

if TYPE_CHECKING:
    from rafiki.model import BaseModel, Params

    M = TypeVar("M", bound=BaseModel)
else:
    M = TypeVar("M")


class TrainJobCalls(Calls):
    """Calls about training."""

    def create_train_job(
        self,
        app: str,
        task: str,
        train_dataset_id: str,
        val_dataset_id: str,
        budget: Mapping[str, object] | None = None,
        models: Sequence[str] | None = None,
        train_args: Mapping[str, object] | None = None,
        advisor: str | Mapping[str, object] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Json:
        """Start training models under a budget.

        Args:
            budget: keys of :class:`~rafiki.constants.BudgetOption`; a key that is none is warned of and left out.
            models: ids of models; None = every available model of the task.
            train_args: passed on to each model's ``train``.
            advisor: how to search: the name of a scheme, or settings such as ``{"scheme": "asha", "options": {"eta":
                4}}``; None = by the knobs.
            labels: notes on the job, such as the commit that it was made from.

        Returns:
            ``id``, ``app``, ``app_version``.
        """
        warn_of_unknown_options(budget, BudgetOption)
        return self._one(
            train_jobs.CREATE_TRAIN_JOB, app=app, task=task, train_dataset_id=train_dataset_id,
            val_dataset_id=val_dataset_id,
            budget={str(k): v for k, v in (budget or {}).items()},
            model_ids=None if models is None else list(models),
            train_args=None if train_args is None else dict(train_args),
            advisor=dict(advisor) if isinstance(advisor, Mapping) else advisor, labels=dict(labels or {}),
        )  # fmt: skip

    def get_train_jobs_by_user(self, user_id: str | None = None) -> list[Json]:
        """Train jobs of a user; None = yourself."""
        return self._many(train_jobs.GET_TRAIN_JOBS_BY_USER, user_id=user_id)

    def get_train_jobs_of_app(self, app: str) -> list[Json]:
        """Your train jobs of an app, newest first."""
        return self._many(train_jobs.GET_TRAIN_JOBS_OF_APP, app=app)

    def get_train_job(self, app: str, app_version: int = -1) -> Json:
        """One of your train jobs; version -1 is the latest."""
        return self._one(train_jobs.GET_TRAIN_JOB, app=app, app_version=app_version)

    def stop_train_job(self, app: str, app_version: int = -1, *, user_id: str | None = None) -> Json:
        """Stop a train job; its finished trials stay. Admins stop those of others: of the user whom they name, else of
        the one user who has that app live."""
        return self._one(train_jobs.STOP_TRAIN_JOB, app=app, app_version=app_version, user_id=user_id)

    def get_trials_of_train_job(
        self, app: str, app_version: int = -1, *, offset: int = 0, limit: int | None = None
    ) -> list[Json]:
        """The trials of a train job: ``limit`` of them from ``offset`` on, None = all."""
        return self._many(
            train_jobs.GET_TRIALS_OF_TRAIN_JOB, app=app, app_version=app_version, offset=offset, limit=limit
        )

    def get_best_trials_of_train_job(self, app: str, app_version: int = -1, max_count: int = 2) -> list[Json]:
        """The trials with the highest scores, best first, among those whose parameters are saved."""
        return self._many(
            train_jobs.GET_TRIALS_OF_TRAIN_JOB,
            app=app,
            app_version=app_version,
            type="best",
            max_count=max_count,
        )

    def get_trial(self, trial_id: str) -> Json:
        """One trial: for its owner and admins."""
        return self._one(train_jobs.GET_TRIAL, trial_id=trial_id)

    def get_trial_logs(self, trial_id: str) -> Json:
        """What the model logged in a trial: ``messages``, ``metrics``, ``plots``."""
        return self._one(train_jobs.GET_TRIAL_LOGS, trial_id=trial_id)

    def get_trial_parameters(self, trial_id: str) -> Params:
        """The trained parameters of a trial: what its ``dump_parameters()`` returned. As a file, with
        :meth:`download_trial_parameters`."""
        from rafiki.param_store.codec import decode_params

        data = self._caller.call_plain(train_jobs.GET_TRIAL_PARAMETERS, {"trial_id": trial_id})
        return decode_params(cast(bytes, data))

    def download_trial_parameters(
        self, trial_id: str, out_path: str | Path, *, progress: Progress | None = None
    ) -> None:
        """Write the trained parameters of a trial to a safetensors file, as they come in."""
        request = train_jobs.TrialRequest(trial_id=trial_id)
        self._caller.call_to_file(train_jobs.GET_TRIAL_PARAMETERS, request, Path(out_path), progress=progress)

    def load_trial_model(self, trial_id: str, ModelClass: type[M]) -> M:
        """The trained model of a trial, in this process: a ``ModelClass`` with its parameters loaded."""
        trial = self.get_trial(trial_id)
        params = self.get_trial_parameters(trial_id)
        model = ModelClass(**trial["proposal"]["knobs"])
        model.load_parameters(params)
        return model
