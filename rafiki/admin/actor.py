"""Does what was planned."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rafiki.admin.actions import (
    Action,
    EndRollout,
    FailSearch,
    NoteEnded,
    NoteRunning,
    ReplaceMembers,
    RetireService,
    SetInferenceJobStatus,
    SetTrainJobStatus,
    StartRollout,
    StartService,
    StopService,
)
from rafiki.admin.events import EventHub
from rafiki.admin.replacements import Replacements
from rafiki.admin.service_runner import ServiceRunner
from rafiki.constants import TrainJobStatus, TrialStatus
from rafiki.entities import Rollout
from rafiki.errors import RafikiError
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.states import find_outcome

_logger = logging.getLogger(__name__)


class Actor:
    """Carries the planner's actions out: those on services through their runner, those on jobs itself."""

    def __init__(
        self,
        *,
        store: MetaStore,
        params: ParamStore,
        hub: EventHub,
        services: ServiceRunner,
        replacements: Replacements,
        wake: Callable[[], None],
    ) -> None:
        """
        Args:
            wake: called when something has changed that the next look should see.
        """
        self._store = store
        self._params = params
        self._hub = hub
        self._services = services
        self._replacements = replacements
        self._wake = wake

    def try_to_do(self, action: Action) -> None:
        """One action that fails must not keep the others from being done; it is planned again at the next look."""
        try:
            self._do(action)
        except RafikiError as e:
            _logger.warning("supervisor: %s failed: %s", type(action).__name__, e.message)

    def _do(self, action: Action) -> None:
        match action:
            case StartService():
                self._services.start_later(action)
            case StopService():
                replaced = action.why_replaced if action.is_replaced else None
                self._services.stop_later(action.service, action.error, replaced=replaced, is_drained=action.is_drained)
            case RetireService():
                self._services.retire(action)
            case NoteRunning():
                self._services.note_running(action.service_id)
            case NoteEnded():
                self._services.note_ended_later(action)
            case ReplaceMembers():
                self._replacements.choose_later(action)
            case FailSearch():
                self._fail_search(action)
            case SetTrainJobStatus():
                self._store.train_jobs.set_train_job_status(action.job.id, action.status, action.error)
                _log_job("train job", action)
                self._hub.note_job(action.job.id)
                self._wake()
            case StartRollout():
                self._store.rollouts.start_rollout(action.rollout.id)
                _log_rollout(action.rollout, "is ready")
                self._note_rollout(action.rollout)
            case EndRollout():
                rollout = action.rollout
                self._store.rollouts.end_rollout(rollout.id, action.status, action.reason, action.comparison)
                _log_rollout(rollout, f"{action.status}: {action.reason}" if action.reason else action.status)
                self._note_rollout(rollout)
            case SetInferenceJobStatus():
                self._store.inference_jobs.set_inference_job_status(action.job.id, action.status, action.error)
                _log_job("inference job", action)
                self._hub.note_job(action.job.id)
                self._wake()

    def _note_rollout(self, rollout: Rollout) -> None:
        for job_id in (rollout.from_job_id, rollout.to_job_id):
            self._hub.note_job(job_id)
        self._wake()

    def _fail_search(self, action: FailSearch) -> None:
        """Take the sub train job over from its advisor, close its trials, and mark it ERRORED."""
        sub_id = action.sub.id
        self._store.train_jobs.set_advisor(sub_id, None)
        for trial in self._store.trials.list_trials_of_sub_train_job(sub_id):
            if trial.status in (TrialStatus.PENDING, TrialStatus.RUNNING):
                self._store.trials.fail_trial(trial.id, error=action.error, owner_id=None)
                if trial.checkpoint is not None:
                    self._params.delete(trial.checkpoint.params_id)
        status = (
            TrainJobStatus.STOPPED if action.sub.error is None and self._is_stop(action) else TrainJobStatus.ERRORED
        )
        error = action.error if status is TrainJobStatus.ERRORED else None
        self._store.train_jobs.set_sub_train_job_status(sub_id, status, error, owner_id=None)
        _logger.error(
            "model %s: search failed: %s", action.sub.model_ref, action.error, extra={"job": action.sub.train_job_id}
        )
        self._hub.note_job(action.sub.train_job_id)
        self._wake()

    def _is_stop(self, action: FailSearch) -> bool:
        """Whether the job was to stop anyway: then that it did is no error."""
        job = self._store.train_jobs.get_train_job(action.sub.train_job_id)
        return job.datetime_stop_requested is not None


def _log_rollout(rollout: Rollout, what: str) -> None:
    _logger.info("update of %s (%s): %s", rollout.app, rollout.kind, what, extra={"job": rollout.to_job_id})


def _log_job(kind: str, action: SetTrainJobStatus | SetInferenceJobStatus) -> None:
    job = action.job
    level = logging.INFO if action.error is None else logging.ERROR
    status: str = action.status
    if isinstance(action, SetTrainJobStatus):
        status = find_outcome(action.status, action.job.datetime_stop_requested) or status
    what = f"{status}: {action.error}" if action.error else status
    _logger.log(level, "%s %s v%s: %s", kind, job.app, job.app_version, what, extra={"job": job.id})
