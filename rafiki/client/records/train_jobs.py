"""Train jobs and their trials."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from rafiki.client.contract_caller import Away
from rafiki.client.http_server import WATCH_PATIENCE_S, Progress
from rafiki.client.records.calls import Calls
from rafiki.contract.train_jobs import (
    CREATE_TRAIN_JOB,
    GET_TRAIN_JOB,
    GET_TRAIN_JOBS_BY_USER,
    GET_TRAIN_JOBS_OF_APP,
    GET_TRIAL,
    GET_TRIAL_LOGS,
    GET_TRIAL_PARAMETERS,
    GET_TRIALS_OF_TRAIN_JOB,
    STOP_TRAIN_JOB,
    WATCH_TRAIN_JOB,
    WATCH_TRIAL_LOGS,
    AppTrainJobsRequest,
    CreateTrainJobRequest,
    ListTrainJobsRequest,
    ListTrialsRequest,
    StopTrainJobRequest,
    TrainJobCreatedView,
    TrainJobEvent,
    TrainJobRequest,
    TrainJobView,
    TrialLogsEvent,
    TrialLogsView,
    TrialRequest,
    TrialView,
)


class TrainJobCalls(Calls):
    """Calls about training."""

    def create_train_job(self, request: CreateTrainJobRequest) -> TrainJobCreatedView:
        """Start training models under a budget."""
        return self._call(CREATE_TRAIN_JOB, request)

    def get_train_jobs_by_user(self, user_id: str | None = None) -> list[TrainJobView]:
        """Train jobs of a user; None = yourself."""
        return self._call(GET_TRAIN_JOBS_BY_USER, ListTrainJobsRequest(user_id=user_id))

    def get_train_jobs_of_app(self, app: str) -> list[TrainJobView]:
        """Your train jobs of an app, newest first."""
        return self._call(GET_TRAIN_JOBS_OF_APP, AppTrainJobsRequest(app=app))

    def get_train_job(self, app: str, app_version: int = -1) -> TrainJobView:
        """One of your train jobs; version -1 is the latest."""
        return self._call(GET_TRAIN_JOB, TrainJobRequest(app=app, app_version=app_version))

    def watch_train_job(
        self,
        app: str,
        app_version: int = -1,
        *,
        patience_s: float = WATCH_PATIENCE_S,
        stop: threading.Event | None = None,
    ) -> Iterator[TrainJobEvent | Away]:
        """How one of your train jobs stands, then each change, until it has ended."""
        request = TrainJobRequest(app=app, app_version=app_version)
        return self._watch(WATCH_TRAIN_JOB, request, patience_s=patience_s, stop=stop)

    def stop_train_job(self, app: str, app_version: int = -1, user_id: str | None = None) -> TrainJobCreatedView:
        """Stop a train job; its finished trials stay."""
        return self._call(STOP_TRAIN_JOB, StopTrainJobRequest(app=app, app_version=app_version, user_id=user_id))

    def get_trials_of_train_job(
        self, app: str, app_version: int = -1, *, offset: int = 0, limit: int | None = None
    ) -> list[TrialView]:
        """The trials of a train job: ``limit`` of them from ``offset`` on, None = all."""
        request = ListTrialsRequest(app=app, app_version=app_version, offset=offset, limit=limit)
        return self._call(GET_TRIALS_OF_TRAIN_JOB, request)

    def get_best_trials_of_train_job(self, app: str, app_version: int = -1, max_count: int = 2) -> list[TrialView]:
        """The trials with the highest scores, best first, among those whose parameters are saved."""
        request = ListTrialsRequest(app=app, app_version=app_version, type="best", max_count=max_count)
        return self._call(GET_TRIALS_OF_TRAIN_JOB, request)

    def get_trial(self, trial_id: str) -> TrialView:
        """One trial."""
        return self._call(GET_TRIAL, TrialRequest(trial_id=trial_id))

    def get_trial_logs(self, trial_id: str) -> TrialLogsView:
        """What the model logged in a trial."""
        return self._call(GET_TRIAL_LOGS, TrialRequest(trial_id=trial_id))

    def watch_trial_logs(
        self, trial_id: str, *, patience_s: float = WATCH_PATIENCE_S, stop: threading.Event | None = None
    ) -> Iterator[TrialLogsEvent | Away]:
        """What the model has logged in a trial, then what it logs, until the trial has ended."""
        return self._watch(WATCH_TRIAL_LOGS, TrialRequest(trial_id=trial_id), patience_s=patience_s, stop=stop)

    def get_trial_parameters(self, trial_id: str) -> bytes:
        """The trained parameters of a trial, as the bytes of a safetensors file."""
        return self._call(GET_TRIAL_PARAMETERS, TrialRequest(trial_id=trial_id))

    def download_trial_parameters(self, trial_id: str, out_path: Path, *, progress: Progress | None = None) -> None:
        """Write the trained parameters of a trial to a safetensors file, as they come in."""
        self._caller.call_to_file(GET_TRIAL_PARAMETERS, TrialRequest(trial_id=trial_id), out_path, progress=progress)
