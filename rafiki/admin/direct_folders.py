"""The folders in which predictors listen for the inference workers of their job, and of no other."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from rafiki.meta_store import MetaStore

_logger = logging.getLogger(__name__)


class DirectFolders:
    """Of the live inference jobs.

    Args:
        folder: of the folders.
    """

    def __init__(self, store: MetaStore, folder: Path) -> None:
        self._store, self._folder = store, folder

    def folder_of(self, job_id: str) -> Path | None:
        """A job's folder, for this user alone; None when it cannot be made: then all goes through the cache."""
        found = self._folder / job_id
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not found.is_dir():
                self._forget_ended()
            found.mkdir(mode=0o700, exist_ok=True)
        except OSError as e:
            _logger.warning("no direct way for workers: %s cannot be made: %s", found, e.strerror or e)
            return None
        return found

    def name_of(self, job_id: str) -> str | None:
        """The path of :meth:`folder_of`."""
        folder = self.folder_of(job_id)
        return None if folder is None else str(folder)

    def _forget_ended(self) -> None:
        live = {job.id for job in self._store.inference_jobs.list_live_inference_jobs()}
        for folder in self._folder.iterdir():
            if folder.name not in live:
                shutil.rmtree(folder, ignore_errors=True)
