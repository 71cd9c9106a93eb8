"""What a service may do with the stores: what its job needs, and nothing of others."""

from __future__ import annotations

import threading

from rafiki.constants import ServiceType
from rafiki.entities import Service
from rafiki.errors import UnauthorizedError
from rafiki.meta_store import MetaStore

_MOST_REMEMBERED = 100_000


class WrittenParams:
    """Which service wrote which parameters: until a trial is complete, no record names them."""

    def __init__(self) -> None:
        self._writers: dict[str, str] = {}
        self._lock = threading.Lock()

    def note(self, params_id: str, sub_train_job_id: str) -> None:
        with self._lock:
            # Whoever came first keeps them; the oldest are forgotten, and their trials have ended long since.
            self._writers.setdefault(params_id, sub_train_job_id)
            while len(self._writers) > _MOST_REMEMBERED:
                del self._writers[next(iter(self._writers))]

    def is_of(self, params_id: str, sub_train_job_id: str) -> bool:
        with self._lock:
            return self._writers.get(params_id) == sub_train_job_id


class ServiceRights:
    """Of one live service, by its records. See :class:`rafiki.stores.remote.server.StoreRights`."""

    def __init__(self, service: Service, store: MetaStore, written: WrittenParams) -> None:
        self._service = service
        self._store = store
        self._written = written

    def read_dataset(self, store_id: str) -> None:
        """A train worker reads the two datasets of its job."""
        if self._service.service_type is ServiceType.TRAIN:
            job = self._store.train_jobs.get_train_job(self._service.job_id)
            ids = (job.train_dataset_id, job.val_dataset_id)
            if store_id in {self._store.datasets.get_dataset(dataset_id).store_id for dataset_id in ids}:
                return
        raise self._refusal("reads this dataset")

    def read_params(self, params_id: str) -> None:
        """An inference worker reads those of its trial, a train worker those of its own search."""
        match self._service.service_type:
            case ServiceType.INFERENCE:
                if self._store.trials.get_trial(self._service.unit_id).params_id == params_id:
                    return
            case ServiceType.TRAIN:
                if self._is_of_search(params_id):
                    return
        raise self._refusal("reads these parameters")

    def write_params(self, params_id: str) -> None:
        """A train worker stores new ones; those that are there stay as they are."""
        if self._service.service_type is not ServiceType.TRAIN:
            raise self._refusal("stores parameters")

    def note_written(self, params_id: str) -> None:
        """From now on its search may read them. An id alone gives no such right: the worker had the parameters, or
        there are none yet."""
        self._written.note(params_id, self._service.unit_id)

    def confirm_params(self, params_id: str) -> None:
        """A train worker ends the uploads of its search. After a restart of the admin nobody knows of them any more:
        they are put, as those that cannot travel directly."""
        if self._service.service_type is not ServiceType.TRAIN or not self._written.is_of(
            params_id, self._service.unit_id
        ):
            raise self._refusal("has begun this upload")

    def write_validation(self, params_id: str) -> None:
        """A train worker writes and removes what stands beside the parameters of its own search."""
        if self._service.service_type is not ServiceType.TRAIN or not self._is_of_search(params_id):
            raise self._refusal("writes beside these parameters")

    def delete_params(self, params_id: str) -> None:
        """An advisor removes checkpoints: what is not the result of a trial of its search."""
        if self._service.service_type is ServiceType.ADVISOR:
            search = self._service.unit_id
            is_result = self._store.trials.has_params(search, params_id, counts_checkpoints=False)
            if not is_result and self._written.is_of(params_id, search):
                return
        raise self._refusal("deletes these parameters")

    def manage(self) -> None:
        raise self._refusal("looks after the stores")

    def _is_of_search(self, params_id: str) -> bool:
        sub_train_job_id = self._service.unit_id
        if self._written.is_of(params_id, sub_train_job_id):
            return True
        return self._store.trials.has_params(sub_train_job_id, params_id, counts_checkpoints=True)

    def _refusal(self, action: str) -> UnauthorizedError:
        return UnauthorizedError.forbidden(f"No {self._service.service_type} service of this job {action}.")
