"""From a planned service to what its process needs to know: no more than its part of its job."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from rafiki.admin.actions import StartService
from rafiki.admin.direct_folders import DirectFolders
from rafiki.admin.gpus import share_gpus
from rafiki.admin.predictor_keys import PredictorKeys
from rafiki.admin.service_door import AdminServiceDoor
from rafiki.admin.version_files import VersionFiles
from rafiki.cache.credentials import Credentials
from rafiki.constants import ServiceType
from rafiki.container.base import Address, NodePackages, ServiceRequest
from rafiki.data_store.base import DataStore
from rafiki.deployment import Deployment
from rafiki.entities import Model, TrainJob
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import InvalidTrialError, RafikiError
from rafiki.messages import (
    AdvisorSpec,
    CacheAddress,
    InferenceWorkerSpec,
    MetricsAccess,
    ModelSource,
    PredictorSpec,
    ServiceSpec,
    TracingSpec,
    TrainWorkerSpec,
)
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.sandbox.limits import Limits, limits_of
from rafiki.sandbox.sandbox import BOX_FOLDER, CACHE_DOOR, DIRECT, DOORS
from rafiki.settings import Config
from rafiki.store_location import StoreLocation, find_folder
from rafiki.stores import is_for_admin_alone
from rafiki.tasks.registry import get_task
from rafiki.utils.certificates import CertificateFiles
from rafiki.utils.disk_space import DiskSpace
from rafiki.utils.values import JsonObject

_logger = logging.getLogger(__name__)

_MODULES = {
    AdvisorSpec.kind: "rafiki.search.advisor_worker",
    TrainWorkerSpec.kind: "rafiki.worker.train",
    InferenceWorkerSpec.kind: "rafiki.worker.inference",
    PredictorSpec.kind: "rafiki.predictor",
}
"""What each kind of service runs."""


def _encode(spec: ServiceSpec, address: Address | None) -> bytes:
    """The spec as it travels. The back end has allocated ``address`` to a service that listens."""
    if isinstance(spec, PredictorSpec) and address is not None:
        spec = msgspec.structs.replace(spec, host=address.host, port=address.port)
    return msgspec.msgpack.encode(spec)


class SpecBuilder:
    """Gathers specs from the stores."""

    def __init__(
        self,
        *,
        config: Config,
        store: MetaStore,
        datasets: DataStore,
        params: ParamStore,
        meta_store_url: str,
        credentials: Credentials,
        environments: EnvironmentStore,
        door: AdminServiceDoor,
        keys: PredictorKeys,
        versions: VersionFiles,
        direct: DirectFolders | None = None,
        is_elsewhere: Callable[[str], bool] = lambda kind: False,
        is_boxed: Callable[[str], bool] = lambda kind: False,
        cache_host: str | None = None,
        certificate: CertificateFiles | None = None,
        disk: DiskSpace = DiskSpace((), 0),
        metrics_access: MetricsAccess = MetricsAccess(),
        tracing: TracingSpec | None = None,
    ) -> None:
        """
        Args:
            direct: where predictors and workers of this machine meet; None = nowhere.
            is_elsewhere: whether services of a kind see nothing of this machine but its network.
            is_boxed: whether those of a kind see of this machine what their requests name, and no network.
            cache_host: how services elsewhere reach the cache, where that differs from here.
            certificate: what predictors show; None = they speak no TLS.
            disk: what has to be free for a trial to start.
            metrics_access: who may read the metrics of predictors.
            tracing: which requests to predictors are traced; None = none.
        """
        self._tracing = tracing
        self._metrics_access = metrics_access
        self._config = config
        self._store = store
        self._datasets = datasets
        self._params = params
        self._meta_store_url = meta_store_url
        self._credentials = credentials
        self._environments = environments
        self._door = door
        self._keys = keys
        self._versions = versions
        self._direct = direct
        self._is_elsewhere = is_elsewhere
        self._is_boxed = is_boxed
        self._cache_host = cache_host
        self._certificate = certificate
        self._disk = disk

    def build(self, action: StartService, service_id: str, last_port: int | None = None) -> ServiceRequest:
        """The request to start a planned service.

        Args:
            action: what was planned.
            service_id: its new id.
            last_port: the port that the predictor before it had.

        Raises:
            RafikiError: when a store lacks what the service needs.
        """
        match action.service_type:
            case ServiceType.ADVISOR:
                spec: ServiceSpec = self._advisor(action, service_id)
            case ServiceType.TRAIN:
                spec = self._train(action, service_id)
            case ServiceType.INFERENCE:
                spec = self._inference(action, service_id)
            case ServiceType.PREDICT:
                spec = self._predictor(action.job_id, service_id)
        model = self._model_of(action)
        return ServiceRequest(
            service_id=service_id,
            kind=spec.kind,
            module=_MODULES[spec.kind],
            make_spec=lambda address: _encode(spec, address),
            listens=isinstance(spec, PredictorSpec),
            last_port=last_port,
            gpus=action.gpus,
            host=action.host,
            runs_model_code=spec.runs_model_code,
            python=self._python_of(spec.kind, model),
            packages=self._packages_of(spec.kind, model),
            image=model.docker_image if model else None,
            image_digest=model.image_digest if model else None,
            reads=self._reads(spec),
            direct_folder=self._direct_folder(spec),
            sharing=self._sharing(action),
        )

    def _datasets_for(self, kind: str, service_id: str) -> StoreLocation:
        """The datasets as a service reaches them: a box holds the files of its own."""
        location = self._datasets.location
        if self._is_boxed(kind) and find_folder(location) is not None:
            return location
        return self._location_for(kind, service_id, location)

    def _python_of(self, kind: str, model: Model | None) -> str | None:
        """The interpreter of this machine for a service that runs beside the admin."""
        if model is None or self._is_elsewhere(kind):
            return None
        return self._environments.look(model.dependencies).python

    def _packages_of(self, kind: str, model: Model | None) -> NodePackages | None:
        """Where a service that runs in an image finds what its model depends on."""
        if model is None or not self._is_elsewhere(kind):
            return None
        found = self._environments.packages_on_nodes(model.dependencies, model.docker_image)
        return None if found is None else NodePackages(folder=found.folder, node_ids=found.nodes, image=found.image)

    def _location_for(self, kind: str, service_id: str, location: StoreLocation) -> StoreLocation:
        """A store as a service reaches it: through the admin when it runs elsewhere, in a box, or must not have
        credentials."""
        if self._is_boxed(kind):
            return self._door.stores_of_boxed(service_id)
        if self._is_elsewhere(kind) or is_for_admin_alone(location):
            return self._door.stores_of(service_id)
        return location

    def _reads(self, spec: ServiceSpec) -> list[Path]:
        """The files that a service needs in its box: the datasets of its job, where they are files."""
        if not isinstance(spec, TrainWorkerSpec) or not self._is_boxed(spec.kind):
            return []
        if find_folder(spec.datasets) is None:
            return []
        return [
            self._datasets.get_path(store_id) for store_id in dict.fromkeys([spec.train_store_id, spec.val_store_id])
        ]

    def _direct_folder(self, spec: ServiceSpec) -> Path | None:
        if self._direct is None or not isinstance(spec, InferenceWorkerSpec):
            return None
        return self._direct.folder_of(spec.job_id)

    def _direct_folder_seen(self, job_id: str) -> str | None:
        """The name that an inference worker has for the folder in which its job's predictors listen."""
        folder = self._direct.folder_of(job_id) if self._direct is not None else None
        if folder is None:
            return None
        return f"{BOX_FOLDER}/{DIRECT}" if self._is_boxed(InferenceWorkerSpec.kind) else str(folder)

    def _cache_of(self, kind: str, job_id: str) -> CacheAddress:
        """How a service of a job reaches the cache."""
        address = self._credentials.address_of(job_id)
        if self._is_boxed(kind):
            return msgspec.structs.replace(
                address, socket=f"{BOX_FOLDER}/{DOORS}/{CACHE_DOOR}", use_tls=False, tls=None
            )
        if self._cache_host is None or not self._is_elsewhere(kind):
            return address
        return msgspec.structs.replace(address, host=self._cache_host)

    def _model_of(self, action: StartService) -> Model | None:
        """The model whose code the service runs; None when it runs none."""
        match action.service_type:
            case ServiceType.TRAIN:
                sub_id = action.unit_id
            case ServiceType.INFERENCE:
                sub_id = self._store.trials.get_trial(action.unit_id).sub_train_job_id
            case _:
                return None
        return self._store.models.get_model(self._store.train_jobs.get_sub_train_job(sub_id).model_id)

    def _sharing(self, action: StartService) -> int:
        """How many workers the job has: they share the machine."""
        match action.service_type:
            case ServiceType.TRAIN:
                train_budget = self._store.train_jobs.get_train_job(action.job_id).budget
                n_models = len(self._store.train_jobs.list_sub_train_jobs(action.job_id))
                shares = share_gpus(train_budget.gpu_seats, n_models)
                return sum(n_seats or train_budget.cpu_worker_count for n_seats in shares)
            case ServiceType.INFERENCE:
                jobs = self._store.inference_jobs
                job = jobs.get_inference_job(action.job_id)
                limits = job.deployment.replicas
                replicas = job.budget.replica_count if limits is None else limits.max
                return replicas * len(jobs.list_served_trials(action.job_id))
            case _:
                return 1

    def _n_workers(self, train_job_id: str, sub_train_job_id: str) -> int:
        """How many train workers one model of a job has."""
        budget = self._store.train_jobs.get_train_job(train_job_id).budget
        subs = [s.id for s in self._store.train_jobs.list_sub_train_jobs(train_job_id)]
        n_seats = share_gpus(budget.gpu_seats, len(subs))[subs.index(sub_train_job_id)]
        return n_seats or budget.cpu_worker_count

    def _source(self, model: Model) -> ModelSource:
        file = self._store.models.read_model_file(model.id)
        return ModelSource(file=file, model_class=model.model_class, name=f"{model.name}.py")

    def _advisor(self, action: StartService, service_id: str) -> AdvisorSpec:
        sub = self._store.train_jobs.get_sub_train_job(action.unit_id)
        model = self._store.models.get_model(sub.model_id)
        return AdvisorSpec(
            service_id=service_id,
            job_id=action.job_id,
            sub_train_job_id=sub.id,
            meta_store_url=self._meta_store_url,
            cache=self._credentials.address_of(action.job_id),
            knob_config=model.knob_config or {},
            knob_constraints=model.knob_constraints,
            n_workers=self._n_workers(action.job_id, sub.id),
            max_trial_attempts=self._config.train.max_trial_attempts,
            heartbeat_s=self._config.train.heartbeat_s,
            logging=self._config.logging,
            lost_after_s=self._config.train.lost_after_s,
            params=self._location_for(AdvisorSpec.kind, service_id, self._params.location),
            keep_params=self._config.train.keep_params,
            watched_folders=[str(folder) for folder in self._disk.folders],
            min_free_mb=self._disk.min_free_mb,
        )

    def _train(self, action: StartService, service_id: str) -> TrainWorkerSpec:
        sub = self._store.train_jobs.get_sub_train_job(action.unit_id)
        job = self._store.train_jobs.get_train_job(action.job_id)
        model = self._store.models.get_model(sub.model_id)
        train, val = (self._store.datasets.get_dataset(i) for i in (job.train_dataset_id, job.val_dataset_id))
        return TrainWorkerSpec(
            service_id=service_id,
            job_id=action.job_id,
            sub_train_job_id=sub.id,
            cache=self._cache_of(TrainWorkerSpec.kind, action.job_id),
            model=self._source(model),
            knob_config=model.knob_config or {},
            datasets=self._datasets_for(TrainWorkerSpec.kind, service_id),
            train_store_id=train.store_id,
            val_store_id=val.store_id,
            dataset_names={train.store_id: train.name, val.store_id: val.name},
            train_args=job.train_args,
            params=self._location_for(TrainWorkerSpec.kind, service_id, self._params.location),
            task=job.task,
            validation_predictions=self._config.train.validation_predictions,
            checkpoint_s=self._config.train.checkpoint_s,
            checkpoint_max_bytes=self._config.train.checkpoint_max_mb << 20,
            wait_for_space_s=self._config.train.wait_for_space_s,
            heartbeat_s=self._config.train.heartbeat_s,
            limits=self._limits_of(TrainWorkerSpec.kind),
            logging=self._config.logging,
        )

    def _inference(self, action: StartService, service_id: str) -> InferenceWorkerSpec:
        trial = self._store.trials.get_trial(action.unit_id)
        if trial.params_id is None:
            raise InvalidTrialError(f"The trial {trial.label} has no saved parameters (any more).")
        sub = self._store.train_jobs.get_sub_train_job(trial.sub_train_job_id)
        job = self._store.train_jobs.get_train_job(trial.train_job_id)
        return InferenceWorkerSpec(
            service_id=service_id,
            job_id=action.job_id,
            trial_id=trial.id,
            trial_no=trial.no,
            task=job.task,
            cache=self._cache_of(InferenceWorkerSpec.kind, action.job_id),
            model=self._source(self._store.models.get_model(sub.model_id)),
            knobs=trial.proposal.knobs,
            params=self._location_for(InferenceWorkerSpec.kind, service_id, self._params.location),
            params_id=trial.params_id,
            batch_size=self._batch_size(self._deployment(action.job_id)),
            is_traced=self._tracing is not None,
            direct_folder=self._direct_folder_seen(action.job_id),
            heartbeat_s=self._config.train.heartbeat_s,
            limits=self._limits_of(InferenceWorkerSpec.kind),
            logging=self._config.logging,
        )

    def _limits_of(self, kind: str) -> Limits:
        # A container has limits of its own.
        if self._is_elsewhere(kind):
            return Limits()
        return limits_of(self._config.container, is_boxed=self._is_boxed(kind))

    def _deployment(self, inference_job_id: str) -> Deployment:
        return self._store.inference_jobs.get_inference_job(inference_job_id).deployment

    def _batch_size(self, deployment: Deployment) -> int:
        return deployment.batch_size or self._config.predictor.batch_size

    def _query_schema(self, train_job: TrainJob) -> JsonObject:
        """What a query of the app looks like, where its dataset is at hand and says so."""
        if find_folder(self._datasets.location) is None:
            return {}
        try:
            dataset = self._store.datasets.get_dataset(train_job.val_dataset_id)
            path = self._datasets.get_path(dataset.store_id)
            return get_task(train_job.task).read_query_schema(path, train_job.train_args)
        except RafikiError as e:
            # A deployment serves without it, too.
            _logger.info("the form of the queries of %s is not known: %s", train_job.app, e.message)
            return {}

    def _predictor(self, front_id: str, service_id: str) -> PredictorSpec:
        """The predictor of an address: with what answers there now, where it cannot read its file of versions."""
        job = self._store.inference_jobs.find_primary(front_id)
        version = self._versions.describe(job.id)
        settings = self._config.predictor
        train_job = self._store.train_jobs.get_train_job(job.train_job_id)
        return PredictorSpec(
            service_id=service_id,
            job_id=front_id,
            app=train_job.app,
            query_schema=self._query_schema(train_job),
            app_version=version.app_version,
            task=version.task,
            cache=self._credentials.address_of(front_id),
            members=version.members,
            deadline_s=version.deadline_s,
            batch_size=version.batch_size,
            subset_scores=version.subset_scores,
            late_target=version.late_target,
            most_cached=version.most_cached,
            max_waiting=settings.max_waiting,
            max_body_mb=settings.max_body_mb,
            tls=self._certificate,
            http=self._config.http,
            direct_folder=version.direct_folder,
            key_file=str(self._keys.publish(job)) if job.deployment.require_key else None,
            versions_file=str(self._versions.path_of(front_id)),
            metrics=self._metrics_access,
            tracing=self._tracing,
            heartbeat_s=self._config.train.heartbeat_s,
            logging=self._config.logging,
        )
