"""Inference jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from rafiki.client.contract_caller import Away
from rafiki.client.http_server import WATCH_PATIENCE_S
from rafiki.client.records.calls import Calls
from rafiki.constants import EnsembleMethod
from rafiki.contract.endpoint import Empty
from rafiki.contract.exports import GET_EXPORT, ExportRequest, ExportView
from rafiki.contract.inference_jobs import (
    CREATE_INFERENCE_JOB,
    GET_INFERENCE_JOBS_BY_USER,
    GET_INFERENCE_JOBS_OF_APP,
    GET_RUNNING_INFERENCE_JOB,
    PREVIEW_ENSEMBLE,
    SCALE_INFERENCE_JOB,
    STOP_ALL_JOBS,
    STOP_INFERENCE_JOB,
    WATCH_INFERENCE_JOB,
    AppInferenceJobsRequest,
    CreateInferenceJobRequest,
    EnsemblePreviewView,
    InferenceJobCreatedView,
    InferenceJobEvent,
    InferenceJobRequest,
    InferenceJobScaledView,
    InferenceJobStoppedView,
    InferenceJobView,
    ListInferenceJobsRequest,
    PreviewEnsembleRequest,
    ScaleInferenceJobRequest,
    StopInferenceJobRequest,
    StoppedJobsView,
)
from rafiki.contract.predictor_keys import (
    CREATE_KEY,
    GET_KEYS,
    REVOKE_KEY,
    CreateKeyRequest,
    KeyView,
    ListKeysRequest,
    NewKeyView,
    RevokeKeyRequest,
)
from rafiki.contract.rollouts import (
    GET_ROLLOUTS,
    PROMOTE_INFERENCE_JOB,
    ROLLBACK_INFERENCE_JOB,
    UPDATE_INFERENCE_JOB,
    ListRolloutsRequest,
    RolloutRequest,
    RolloutView,
    UpdateInferenceJobRequest,
)


class InferenceJobCalls(Calls):
    """Calls about serving."""

    def create_inference_job(self, request: CreateInferenceJobRequest) -> InferenceJobCreatedView:
        """Serve trials of a stopped train job as an ensemble."""
        return self._call(CREATE_INFERENCE_JOB, request)

    def preview_ensemble(
        self,
        app: str,
        app_version: int = -1,
        method: EnsembleMethod = EnsembleMethod.MEAN,
        size: int | None = None,
    ) -> EnsemblePreviewView:
        """What an inference job would serve."""
        request = PreviewEnsembleRequest(app=app, app_version=app_version, method=method, size=size)
        return self._call(PREVIEW_ENSEMBLE, request)

    def get_inference_jobs_by_user(self, user_id: str | None = None) -> list[InferenceJobView]:
        """Inference jobs of a user; None = yourself."""
        return self._call(GET_INFERENCE_JOBS_BY_USER, ListInferenceJobsRequest(user_id=user_id))

    def get_inference_jobs_of_app(self, app: str) -> list[InferenceJobView]:
        """Your inference jobs of an app, newest first."""
        return self._call(GET_INFERENCE_JOBS_OF_APP, AppInferenceJobsRequest(app=app))

    def get_running_inference_job(self, app: str, app_version: int = -1) -> InferenceJobView:
        """Your running inference job of an app's version; -1 is the latest."""
        return self._call(GET_RUNNING_INFERENCE_JOB, InferenceJobRequest(app=app, app_version=app_version))

    def watch_inference_job(
        self,
        app: str,
        app_version: int = -1,
        *,
        patience_s: float = WATCH_PATIENCE_S,
        stop: threading.Event | None = None,
    ) -> Iterator[InferenceJobEvent | Away]:
        """The state of your running inference job of an app's version, and every second how much it serves."""
        request = InferenceJobRequest(app=app, app_version=app_version)
        return self._watch(WATCH_INFERENCE_JOB, request, patience_s=patience_s, stop=stop)

    def stop_inference_job(
        self, app: str, app_version: int = -1, user_id: str | None = None
    ) -> InferenceJobStoppedView:
        """Stop serving."""
        request = StopInferenceJobRequest(app=app, app_version=app_version, user_id=user_id)
        return self._call(STOP_INFERENCE_JOB, request)

    def update_inference_job(self, request: UpdateInferenceJobRequest) -> RolloutView:
        """Go over to another version behind the address of a running app."""
        return self._call(UPDATE_INFERENCE_JOB, request)

    def promote_inference_job(self, app: str, deployed_version: int | None = None) -> RolloutView:
        """Have the new version of an update answer all."""
        return self._call(PROMOTE_INFERENCE_JOB, RolloutRequest(app=app, deployed_version=deployed_version))

    def rollback_inference_job(self, app: str, deployed_version: int | None = None) -> RolloutView:
        """Take an update back; where none is under way, go back to the version before."""
        return self._call(ROLLBACK_INFERENCE_JOB, RolloutRequest(app=app, deployed_version=deployed_version))

    def get_rollouts(self, app: str) -> list[RolloutView]:
        """The updates of your app, newest first."""
        return self._call(GET_ROLLOUTS, ListRolloutsRequest(app=app))

    def scale_inference_job(self, request: ScaleInferenceJobRequest) -> InferenceJobScaledView:
        """Change between which numbers the load decides how many workers each served trial has."""
        return self._call(SCALE_INFERENCE_JOB, request)

    def create_key(self, app: str, name: str) -> NewKeyView:
        """Make a key of your app."""
        return self._call(CREATE_KEY, CreateKeyRequest(app=app, name=name))

    def get_keys(self, app: str) -> list[KeyView]:
        """The keys of your app that are not revoked."""
        return self._call(GET_KEYS, ListKeysRequest(app=app))

    def revoke_key(self, app: str, key_id: str) -> KeyView:
        """Revoke a key of your app."""
        return self._call(REVOKE_KEY, RevokeKeyRequest(app=app, key_id=key_id))

    def stop_all_jobs(self) -> StoppedJobsView:
        """Stop every train and inference job of everyone."""
        return self._call(STOP_ALL_JOBS, Empty())

    def get_export(self, request: ExportRequest) -> ExportView:
        """What running an app elsewhere takes: the members of its ensemble, their models and packages."""
        return self._call(GET_EXPORT, request)
