"""Tells predictors which versions they serve, each by a file of its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from rafiki.admin.actions import ServedJob, Serving
from rafiki.admin.predictor_keys import PredictorKeys
from rafiki.cache.credentials import Credentials
from rafiki.deployment import LATE_TARGET
from rafiki.errors import RafikiError
from rafiki.messages import EnsembleMember, ServedVersion, ServedVersions
from rafiki.meta_store import MetaStore
from rafiki.settings import PredictorConfig
from rafiki.utils.files import write_private

_logger = logging.getLogger(__name__)

_PREFIX = "versions-"


class VersionFiles:
    """Of the predictors of a stack. The supervisor's thread writes them.

    Args:
        folder: of the files, which hold credentials of the cache.
    """

    def __init__(
        self, *, store: MetaStore, credentials: Credentials, keys: PredictorKeys, settings: PredictorConfig,
        folder: Path, direct_folder: Callable[[str], str | None] = lambda job_id: None,
    ) -> None:  # fmt: skip
        """
        Args:
            direct_folder: where workers of a job reach its predictors by a socket; None = nowhere.
        """
        self._store = store
        self._credentials = credentials
        self._keys = keys
        self._settings = settings
        self._folder = folder
        self._direct_folder = direct_folder
        self._written: dict[str, Serving] = {}
        self._told: dict[str, str] = {}

    def path_of(self, front_id: str) -> Path:
        """The file of the predictor of an address."""
        return self._folder / f"{_PREFIX}{front_id}.json"

    def update(self, serving: list[Serving]) -> None:
        """Write what has changed. What cannot be written is tried again with the next call: predictors go on as they
        are."""
        for wanted in serving:
            front_id = wanted.front_id
            if self._written.get(front_id) == wanted and self.path_of(front_id).exists():
                continue
            try:
                self._write(wanted)
            except (OSError, RafikiError) as e:
                told = str(e)
                if self._told.get(front_id) != told:
                    _logger.warning("cannot tell a predictor what to serve: %s", told, extra={"job": front_id})
                self._told[front_id] = told
            else:
                self._written[front_id] = wanted
                self._told.pop(front_id, None)
        self._forget_all_but({s.front_id for s in serving})

    def _write(self, wanted: Serving) -> None:
        before = {v.job_id: v for v in self._read(wanted.front_id)}
        versions = [self._version(job, before.get(job.job_id)) for job in wanted.jobs]
        primary = self._store.inference_jobs.get_inference_job(wanted.jobs[0].job_id)
        key_file = str(self._keys.publish(primary)) if primary.deployment.require_key else None
        said = ServedVersions(versions=versions, key_file=key_file)
        write_private(self.path_of(wanted.front_id), msgspec.json.encode(said).decode())

    def _read(self, front_id: str) -> list[ServedVersion]:
        """What was written last, perhaps by an admin before this one."""
        try:
            return msgspec.json.decode(self.path_of(front_id).read_bytes(), type=ServedVersions).versions
        except (OSError, msgspec.DecodeError, UnicodeError):
            return []

    def _version(self, served: ServedJob, before: ServedVersion | None) -> ServedVersion:
        if served.keeps_members and before is not None:
            said = before
        else:
            said = self.describe(served.job_id)
        return msgspec.structs.replace(
            said, share=served.share, is_shadow=served.is_shadow, is_leaving=served.is_leaving,
            may_sleep=served.may_sleep,
        )  # fmt: skip

    def describe(self, job_id: str) -> ServedVersion:
        """An inference job, as a predictor needs to know it."""
        job = self._store.inference_jobs.get_inference_job(job_id)
        served = self._store.inference_jobs.list_served_trials(job.id)
        trials = [self._store.trials.get_trial(s.trial_id) for s in served]
        budget_ms = job.deployment.latency_budget_ms
        return ServedVersion(
            job_id=job.id, app_version=job.app_version,
            task=self._store.train_jobs.get_train_job(job.train_job_id).task,
            cache=self._credentials.address_of(job.id),
            members=[
                EnsembleMember(trial_id=t.id, model_name=t.model_name, score=t.score, weight=s.weight)
                for t, s in zip(trials, served, strict=True)
            ],
            deadline_s=budget_ms / 1000 if budget_ms else self._settings.deadline_s,
            batch_size=job.deployment.batch_size or self._settings.batch_size,
            subset_scores=job.ensemble.subset_scores, late_target=job.deployment.late_target or LATE_TARGET,
            most_cached=job.deployment.cache or 0,
            direct_folder=self._direct_folder(job.id),
        )  # fmt: skip

    def _forget_all_but(self, front_ids: set[str]) -> None:
        for front_id in [i for i in self._written if i not in front_ids]:
            del self._written[front_id]
            self._told.pop(front_id, None)
            with contextlib.suppress(OSError):
                self.path_of(front_id).unlink(missing_ok=True)
