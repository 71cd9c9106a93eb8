"""Tells predictors which keys are valid, each by a file of its own."""

from __future__ import annotations

import logging
from pathlib import Path

from rafiki.entities import InferenceJob
from rafiki.key_file import write_keys
from rafiki.meta_store import MetaStore

_logger = logging.getLogger(__name__)

_PREFIX = "keys-"


class PredictorKeys:
    """Of the live inference jobs that ask for keys.

    Args:
        folder: of the files.
    """

    def __init__(self, store: MetaStore, folder: Path) -> None:
        self._store, self._folder = store, folder

    def publish(self, job: InferenceJob) -> Path:
        """Write the keys of a job; returns the file.

        Raises:
            OSError: it cannot be written; no key of the job is valid then.
        """
        keys = self._store.predictor_keys.list_predictor_keys(job.user_id, job.app)
        file = self._folder / f"{_PREFIX}{job.front}.json"
        write_keys(file, [key.secret_hash for key in keys])
        self._forget_ended()
        return file

    def _forget_ended(self) -> None:
        live = {f"{_PREFIX}{job.front}.json" for job in self._store.inference_jobs.list_live_inference_jobs()}
        for file in self._folder.glob(f"{_PREFIX}*.json"):
            if file.name not in live:
                file.unlink(missing_ok=True)

    def publish_app(self, user_id: str, app: str) -> None:
        """Write the keys of every live job of an app that asks for them. Raises as :meth:`publish`, after all."""
        failure: OSError | None = None
        for job in self._store.inference_jobs.list_live_inference_jobs():
            if (job.user_id, job.app) == (user_id, app) and job.deployment.require_key:
                try:
                    self.publish(job)
                except OSError as e:
                    _logger.warning("keys of the inference job %s cannot be written: %s", job.id, e.strerror)
                    failure = e
        if failure is not None:
            raise failure
