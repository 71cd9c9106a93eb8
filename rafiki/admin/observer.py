"""The observer: all that decides what the supervisor does, as it stands now."""

from __future__ import annotations

import time

from rafiki import __version__
from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.model_checks import ModelChecks
from rafiki.admin.planner import Observed, ObservedInferenceJob, ObservedService, ObservedTrainJob, is_live
from rafiki.admin.service_runner import ServiceRunner
from rafiki.container.base import ContainerManager, ServiceExit
from rafiki.entities import InferenceJob, Service, TrainJob
from rafiki.environments.state import EnvironmentState
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import CacheUnavailableError
from rafiki.messages import ServiceReport
from rafiki.meta_store import MetaStore
from rafiki.settings import Config
from rafiki.states import TRAIN_JOB_TRANSITIONS, is_final
from rafiki.utils.clock import utc_now


class Observer:
    """Looks at jobs, services and environments; it belongs to the supervisor's thread."""

    def __init__(
        self,
        *,
        config: Config,
        store: MetaStore,
        containers: ContainerManager,
        cache: CacheKeeper,
        environments: EnvironmentStore,
        checks: ModelChecks,
        services: ServiceRunner,
    ) -> None:
        self._config = config
        self._store = store
        self._containers = containers
        self._cache = cache
        self._environments = environments
        self._checks = checks
        self._services = services
        self._silent_since: dict[str, float] = {}

    def live_job_ids(self) -> list[str]:
        train_jobs = self._store.train_jobs.list_live_train_jobs()
        return [j.id for j in train_jobs] + [j.id for j in self._store.inference_jobs.list_live_inference_jobs()]

    def jobs_with_services(self) -> set[str]:
        return {s.job_id for s in self._store.services.list_live_services()}

    def observe(self) -> Observed:
        store, settings = self._store, self._config.supervisor
        all_live = store.services.list_live_services()
        stopping = [s for s in all_live if s.id in self._services.being_stopped]
        live = [s for s in all_live if s not in stopping]
        # How services ended is looked at before how their jobs stand: see Observed.
        exits = self._poll(live)
        reports = self._reports(live)
        silences = self._silences(live, reports)
        services = [
            ObservedService(service=s, exit=exits[s.id], report=(reports or {}).get(s.id), silent_s=silences[s.id])
            for s in live
        ]
        train_jobs = [self._observe_train_job(j) for j in store.train_jobs.list_live_train_jobs()]
        inference_jobs = [self._observe_inference_job(j) for j in store.inference_jobs.list_live_inference_jobs()]
        return Observed(
            now=utc_now(),
            train_jobs=train_jobs,
            inference_jobs=inference_jobs,
            services=services,
            stopping=stopping,
            gpus=self._containers.gpus() if self._needs_gpus(train_jobs, inference_jobs) else [],
            max_restarts=settings.max_restarts,
            restart_delay_s=settings.restart_delay_s,
            start_timeout_s=settings.start_timeout_s,
            # Twice the time after which an advisor gives a silent worker's trial away.
            silence_limit_s=2 * self._config.train.lost_after_s,
            version=__version__,
            retiring=dict(self._services.retiring),
        )

    def _observe_train_job(self, job: TrainJob) -> ObservedTrainJob:
        subs = self._store.train_jobs.list_sub_train_jobs(job.id)
        live = [s for s in subs if not is_final(TRAIN_JOB_TRANSITIONS, s.status)]
        models = {s.id: self._store.models.get_model(s.model_id) for s in live}
        checks = {sub_id: self._checks.look(model, job.datetime_started) for sub_id, model in models.items()}
        return ObservedTrainJob(
            job=job, subs=subs, ended=self._ended(job.id),
            environments={sub_id: self._environments.look(model.dependencies) for sub_id, model in models.items()},
            checks={sub_id: check for sub_id, check in checks.items() if check is not None},
        )  # fmt: skip

    def _observe_inference_job(self, job: InferenceJob) -> ObservedInferenceJob:
        trial_ids = [t.trial_id for t in self._store.inference_jobs.list_served_trials(job.id)]
        subs = self._store.train_jobs.list_sub_train_jobs(job.train_job_id) if trial_ids else []
        model_ids = {s.id: s.model_id for s in subs}
        environments = {
            trial_id: self._environment_of(model_ids[self._store.trials.get_trial(trial_id).sub_train_job_id])
            for trial_id in trial_ids
        }
        return ObservedInferenceJob(job=job, trial_ids=trial_ids, ended=self._ended(job.id), environments=environments)

    def _environment_of(self, model_id: str) -> EnvironmentState:
        return self._environments.look(self._store.models.get_model(model_id).dependencies)

    @staticmethod
    def _needs_gpus(train_jobs: list[ObservedTrainJob], inference_jobs: list[ObservedInferenceJob]) -> bool:
        return any(t.job.budget.gpu_count for t in train_jobs) or any(i.job.budget.gpu_count for i in inference_jobs)

    def _ended(self, job_id: str) -> list[Service]:
        return [s for s in self._store.services.list_services(job_id) if not is_live(s)]

    def _poll(self, live: list[Service]) -> dict[str, ServiceExit | None]:
        """How each service ended; None for those that run."""
        exits = self._containers.poll_all({s.id: s.handle for s in live if s.handle is not None})
        for service in live:
            if service.handle is None:
                exits[service.id] = self._services.adopt(service)
        return exits

    def _reports(self, live: list[Service]) -> dict[str, ServiceReport] | None:
        """What the services last said of themselves; None when the cache cannot tell."""
        try:
            return self._cache.read_reports([(s.job_id, s.id) for s in live])
        except CacheUnavailableError:
            return None

    def _silences(self, live: list[Service], reports: dict[str, ServiceReport] | None) -> dict[str, float]:
        """Seconds for which each service has been silent; a cache that cannot tell makes nobody silent."""
        now = time.monotonic()
        self._silent_since = {
            s.id: self._silent_since.get(s.id, now) for s in live if reports is not None and s.id not in reports
        }
        return {s.id: now - self._silent_since.get(s.id, now) for s in live}
