"""The observer: all that decides what the supervisor does, as it stands now."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki import __version__
from rafiki.admin.box_doors import BoxDoors
from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.model_checks import ModelChecks
from rafiki.admin.observed import Observed, ObservedInferenceJob, ObservedRollout, ObservedService, ObservedTrainJob
from rafiki.admin.replacements import Replacements
from rafiki.admin.rollout_figures import RolloutFigures
from rafiki.admin.scaling import Scaling
from rafiki.admin.service_runner import ServiceRunner
from rafiki.constants import RolloutStatus, ServiceStatus, ServiceType, ServingRole
from rafiki.container.base import ContainerManager, ServiceExit
from rafiki.distribution import IMAGE
from rafiki.entities import InferenceJob, Model, Rollout, Service, TrainJob
from rafiki.environments.state import EnvironmentState, EnvironmentStatus
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import CacheUnavailableError
from rafiki.messages import PredictorReport, ServiceReport, TrainWorkerSpec
from rafiki.meta_store import MetaStore
from rafiki.rollouts import Comparison
from rafiki.settings import Config
from rafiki.states import TRAIN_JOB_TRANSITIONS, is_final
from rafiki.utils.timing import SYSTEM, Timing


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """The first half of a look."""

    live: list[Service]
    """Without those that are being ended."""
    stopping: list[Service]
    exits: dict[str, ServiceExit | None]
    """Of the live ones."""
    train_jobs: list[TrainJob]
    inference_jobs: list[InferenceJob]
    rollouts: list[Rollout] = []

    @property
    def job_ids(self) -> list[str]:
        """Of the jobs, and of those by which the predictors of theirs are known."""
        ids = [job.id for job in self.inference_jobs]
        fronts = {job.front for job in self.inference_jobs}.difference(ids)
        return [*(job.id for job in self.train_jobs), *ids, *sorted(fronts)]


def _needs_gpus(polled: Polled) -> bool:
    counts = [*(j.budget.gpu_count for j in polled.train_jobs), *(j.budget.gpu_count for j in polled.inference_jobs)]
    return any(counts)


def _ended_of(job: InferenceJob, ended: dict[str, list[Service]]) -> list[Service]:
    """Its services that have ended, with the predictors of its address."""
    if job.front == job.id:
        return ended[job.id]
    return [*ended[job.id], *(s for s in ended[job.front] if s.service_type is ServiceType.PREDICT)]


def _images(models: dict[str, Model]) -> dict[str, str]:
    """Of those that name one, by what is worked on."""
    return {unit_id: model.docker_image for unit_id, model in models.items() if model.docker_image}


class Observer:
    """Looks at jobs, services and environments. It belongs to the supervisor's thread.

    A look takes as many reads of the meta store, of the cache and of the back end, however much there is to see.
    """

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
        replacements: Replacements,
        scaling: Scaling,
        doors: BoxDoors | None = None,
        timing: Timing = SYSTEM,
    ) -> None:
        self._config = config
        self._store = store
        self._containers = containers
        self._cache = cache
        self._environments = environments
        self._checks = checks
        self._services = services
        self._replacements = replacements
        self._scaling = scaling
        self._doors = doors
        self._timing = timing
        self.figures = RolloutFigures()
        self._silent_since: dict[str, float] = {}
        self._starting_since: dict[str, float] = {}

    def jobs_with_services(self) -> set[str]:
        return self._store.services.list_jobs_with_live_services()

    def poll(self) -> Polled:
        """Which services and jobs there are, and how services have ended. The cache is not asked."""
        store = self._store
        # Before the services are read: one that has just ended is then not taken for one that ended by itself.
        being_started, being_stopped = set(self._services.being_started), set(self._services.being_stopped)
        all_live = store.services.list_live_services()
        stopping = [s for s in all_live if s.id in being_stopped]
        live = [s for s in all_live if s.id not in being_stopped]
        # How services ended is looked at before how their jobs stand: see Observed.
        exits = self._poll(live, being_started)
        return Polled(
            live=live, stopping=stopping, exits=exits, train_jobs=store.train_jobs.list_live_train_jobs(),
            inference_jobs=store.inference_jobs.list_live_inference_jobs(),
            rollouts=store.rollouts.list_live_rollouts(),
        )  # fmt: skip

    def observe(self, polled: Polled) -> Observed:
        """All that decides."""
        settings, live = self._config.supervisor, polled.live
        reports = self._reports(live)
        silences, starts = self._silences(live, reports), self._starts(live, reports)
        ended = self._store.services.list_ended_services(polled.job_ids)
        served = self._read_served(polled)
        services = [
            ObservedService(
                service=s,
                exit=polled.exits[s.id],
                report=(reports or {}).get(s.id),
                silent_s=silences[s.id],
                starting_s=starts.get(s.id, 0.0),
            )
            for s in live
        ]
        inference_jobs = self._observe_inference_jobs(polled.inference_jobs, ended, served)
        return Observed(
            now=self._timing.now(),
            train_jobs=self._observe_train_jobs(polled.train_jobs, ended),
            inference_jobs=self._scaling.look(inference_jobs, services),
            rollouts=self._observe_rollouts(polled, served),
            fronts=self._find_fronts(polled),
            deadline_s=self._config.predictor.deadline_s,
            services=services,
            stopping=polled.stopping,
            gpus=self._containers.gpus() if _needs_gpus(polled) else [],
            hosts=self._containers.hosts() if polled.train_jobs or polled.inference_jobs else [],
            service_hosts=self._service_hosts([*live, *polled.stopping]),
            refusals=self._services.refusals.recent(),
            worker_memory_bytes=(self._config.container.memory_limit_mb or 0) << 20,
            image=self._config.container.image or IMAGE,
            most_starts=self._services.most_starts,
            max_restarts=settings.max_restarts,
            restart_delay_s=settings.restart_delay_s,
            start_timeout_s=settings.start_timeout_s,
            # Twice the time after which an advisor gives a silent worker's trial away.
            silence_limit_s=2 * self._config.train.lost_after_s,
            version=__version__,
            retiring=dict(self._services.retiring),
            doors_renewed=self._doors_renewed(),
        )

    def _doors_renewed(self) -> datetime | None:
        if self._doors is None or not self._containers.is_boxed(TrainWorkerSpec.kind):
            return None
        return self._doors.renewed

    def _observe_train_jobs(self, jobs: list[TrainJob], ended: dict[str, list[Service]]) -> list[ObservedTrainJob]:
        subs = self._store.train_jobs.list_sub_train_jobs_of([job.id for job in jobs])
        live = {job.id: [s for s in subs[job.id] if not is_final(TRAIN_JOB_TRANSITIONS, s.status)] for job in jobs}
        models = self._store.models.get_models({s.model_id for of_job in live.values() for s in of_job})
        environments = self._environments_of(models)
        observed = []
        for job in jobs:
            checks = {s.id: self._checks.look(models[s.model_id], job.datetime_started) for s in live[job.id]}
            observed.append(
                ObservedTrainJob(
                    job=job, subs=subs[job.id], ended=ended[job.id],
                    environments={s.id: environments[s.model_id] for s in live[job.id]},
                    images=_images({s.id: models[s.model_id] for s in live[job.id]}),
                    checks={sub_id: check for sub_id, check in checks.items() if check is not None},
                )
            )  # fmt: skip
        return observed

    def _observe_inference_jobs(
        self, jobs: list[InferenceJob], ended: dict[str, list[Service]], reports: dict[str, PredictorReport]
    ) -> list[ObservedInferenceJob]:
        served = self._store.inference_jobs.list_served_models([job.id for job in jobs])
        models = self._store.models.get_models({m.model_id for of_job in served.values() for m in of_job.values()})
        environments = self._environments_of(models)
        return [
            ObservedInferenceJob(
                job=job, trial_ids=list(served[job.id]), ended=_ended_of(job, ended),
                environments={trial_id: environments[m.model_id] for trial_id, m in served[job.id].items()},
                images=_images({trial_id: models[m.model_id] for trial_id, m in served[job.id].items()}),
                labels={trial_id: m.label for trial_id, m in served[job.id].items()},
                is_choosing=self._replacements.is_choosing(job.id),
                irreplaceable=self._replacements.irreplaceable(job.id),
                report=reports.get(job.id),
            )
            for job in jobs
        ]  # fmt: skip

    def _read_served(self, polled: Polled) -> dict[str, PredictorReport]:
        """What predictors say of the inference jobs of updates, of those whose members were replaced, and of those
        whose load decides how many workers they have; by job."""
        updated = {i for r in polled.rollouts for i in (r.from_job_id, r.to_job_id)}
        wanted = [
            j for j in polled.inference_jobs
            if j.id in updated or j.role is not ServingRole.PRIMARY or j.ensemble.replaced or j.deployment.replicas
        ]  # fmt: skip
        if not wanted:
            return {}
        predictors = {s.job_id: s.id for s in polled.live if s.service_type is ServiceType.PREDICT}
        pairs = [(j.id, predictors[j.front]) for j in wanted if j.front in predictors]
        try:
            found = self._cache.read_version_reports(pairs)
        except CacheUnavailableError:
            return {}
        return {job_id: report for (job_id, _), report in zip(pairs, found, strict=True) if report is not None}

    def _observe_rollouts(self, polled: Polled, served: dict[str, PredictorReport]) -> list[ObservedRollout]:
        self.figures.forget_all_but(r.id for r in polled.rollouts)
        jobs = {job.id: job for job in polled.inference_jobs}
        observed = []
        for rollout in polled.rollouts:
            before, after = (
                jobs.get(i) or self._store.inference_jobs.get_inference_job(i)
                for i in (rollout.from_job_id, rollout.to_job_id)
            )
            comparison = Comparison()
            if rollout.status is RolloutStatus.RUNNING:
                comparison = self.figures.note(rollout.id, served.get(before.id), served.get(after.id))
            observed.append(
                ObservedRollout(
                    rollout=rollout, before=before, after=after, comparison=comparison,
                    scores=self._scores_of(rollout, before, after),
                )
            )  # fmt: skip
        return observed

    def _scores_of(
        self, rollout: Rollout, before: InferenceJob, after: InferenceJob
    ) -> tuple[float | None, float | None]:
        """Of both ensembles where both were measured, else of their best trials."""
        if rollout.rules.score is None or rollout.status is not RolloutStatus.STARTED:
            return None, None
        of_ensembles = before.ensemble.validation_score, after.ensemble.validation_score
        if None not in of_ensembles:
            return of_ensembles
        return self._best_score(before), self._best_score(after)

    def _best_score(self, job: InferenceJob) -> float | None:
        trials = [
            self._store.trials.get_trial(s.trial_id) for s in self._store.inference_jobs.list_served_trials(job.id)
        ]
        return max((t.score for t in trials if t.score is not None), default=None)

    def _find_fronts(self, polled: Polled) -> dict[str, str]:
        """Of jobs that have ended, while workers of theirs are left."""
        live = {job.id for job in polled.inference_jobs}
        workers = [s for s in [*polled.live, *polled.stopping] if s.service_type is ServiceType.INFERENCE]
        ended = {s.job_id for s in workers} - live
        return self._store.rollouts.find_fronts(ended) if ended else {}

    def _service_hosts(self, services: list[Service]) -> dict[str, str]:
        """Where services are: what the back end says, and of those that it knows nothing of yet where they were put."""
        placed = self._services.placed.copy()
        ids = [s.id for s in services]
        return {**{i: placed[i] for i in ids if i in placed}, **self._containers.find_hosts(ids)}

    def _environments_of(self, models: dict[str, Model]) -> dict[str, EnvironmentState]:
        return {model_id: self._environment_of(model) for model_id, model in models.items()}

    def _environment_of(self, model: Model) -> EnvironmentState:
        """What workers of a model run with: its image, and what it depends on besides."""
        if model.docker_image is not None and model.image_digest is not None:
            problem = self._containers.find_image_problem(model.docker_image, model.image_digest)
            if problem is not None:
                return EnvironmentState(status=EnvironmentStatus.FAILED, reason=f"{problem}.")
        return self._environments.look_for_workers(model.dependencies, model.docker_image)

    def _poll(self, live: list[Service], being_started: set[str]) -> dict[str, ServiceExit | None]:
        """How each service ended; None for those that run."""
        exits = self._containers.poll_all({s.id: s.handle for s in live if s.handle is not None})
        for service in live:
            if service.handle is None:
                exits[service.id] = None if service.id in being_started else self._services.adopt(service)
        return exits

    def _reports(self, live: list[Service]) -> dict[str, ServiceReport] | None:
        """What the services last said of themselves; None when the cache cannot tell."""
        try:
            return self._cache.read_reports([(s.job_id, s.id) for s in live])
        except CacheUnavailableError:
            return None

    def _silences(self, live: list[Service], reports: dict[str, ServiceReport] | None) -> dict[str, float]:
        """Seconds for which each service has been silent; a cache that cannot tell makes nobody silent."""
        now = self._timing.monotonic_s()
        self._silent_since = {
            s.id: self._silent_since.get(s.id, now) for s in live if reports is not None and s.id not in reports
        }
        return {s.id: now - self._silent_since.get(s.id, now) for s in live}

    def _starts(self, live: list[Service], reports: dict[str, ServiceReport] | None) -> dict[str, float]:
        """Seconds for which the programs of services have been starting. An admin that was restarted counts anew."""
        now = self._timing.monotonic_s()
        starting = [s for s in live if s.status is not ServiceStatus.RUNNING and s.handle is not None]
        waiting = self._containers.find_waiting(s.id for s in starting)
        preparing = {i for i, report in (reports or {}).items() if report.state == "preparing"}
        self._starting_since = {
            s.id: self._starting_since.get(s.id, now) for s in starting if s.id not in waiting and s.id not in preparing
        }
        return {service_id: now - since for service_id, since in self._starting_since.items()}
