"""What a look reads at once is what it would read one by one."""

from __future__ import annotations

import random
from pathlib import Path
from unittest.mock import create_autospec

import pytest
from support.services.fake_containers import FakeContainerManager
from support.stores.meta_store_records import Given
from support.stores.random_jobs import fill
from support.stores.store_and_cache import given, migrated_file, store, store_url

from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.model_checks import ModelChecks
from rafiki.admin.observer import Observer
from rafiki.admin.planner import CheckState, ObservedInferenceJob, ObservedTrainJob, is_live
from rafiki.admin.refusals import Refusals
from rafiki.admin.replacements import Replacements
from rafiki.admin.scaling import Scaling
from rafiki.admin.service_runner import ServiceRunner
from rafiki.constants import InferenceJobStatus, TrainJobStatus
from rafiki.entities import Model
from rafiki.environments.state import EnvironmentState, EnvironmentStatus
from rafiki.environments.store import EnvironmentStore
from rafiki.messages import ServiceReport
from rafiki.meta_store import MetaStore
from rafiki.settings import Config
from rafiki.states import TRAIN_JOB_TRANSITIONS, is_final
from rafiki.utils.timing import SYSTEM

__all__ = ["given", "migrated_file", "store", "store_url"]


def environment_of(model: Model) -> EnvironmentState:
    """Another one for each model."""
    return EnvironmentState(status=EnvironmentStatus.BUILDING, key=str(sorted(model.dependencies.items())))


def check_of(model: Model) -> CheckState | None:
    return CheckState(reason=model.name, is_checking=True) if model.version % 2 else None


def observer_of(store: MetaStore, runner: ServiceRunner, reports: dict[str, ServiceReport]) -> Observer:
    environments = create_autospec(EnvironmentStore, instance=True)
    environments.look_for_workers.side_effect = lambda dependencies, image: EnvironmentState(
        status=EnvironmentStatus.BUILDING, key=str(sorted(dependencies.items()))
    )
    checks = create_autospec(ModelChecks, instance=True)
    checks.look.side_effect = lambda model, since: check_of(model)
    cache = create_autospec(CacheKeeper, instance=True)
    cache.read_reports.side_effect = lambda services: {i: reports[i] for _, i in services if i in reports}
    replacements = create_autospec(Replacements, instance=True)
    replacements.is_choosing.return_value = False
    replacements.irreplaceable.return_value = frozenset()
    return Observer(
        config=Config(), store=store, containers=FakeContainerManager(), cache=cache, environments=environments,
        checks=checks, services=runner, replacements=replacements,
        scaling=Scaling(deadline_s=10.0, note_job=lambda job_id: None), timing=SYSTEM,
    )  # fmt: skip


def read_train_job(store: MetaStore, job_id: str) -> ObservedTrainJob:
    subs = store.train_jobs.list_sub_train_jobs(job_id)
    live = [s for s in subs if not is_final(TRAIN_JOB_TRANSITIONS, s.status)]
    models = {s.id: store.models.get_model(s.model_id) for s in live}
    return ObservedTrainJob(
        job=store.train_jobs.get_train_job(job_id), subs=subs,
        ended=[s for s in store.services.list_services(job_id) if not is_live(s)],
        environments={sub_id: environment_of(model) for sub_id, model in models.items()},
        checks={sub_id: check for sub_id, model in models.items() if (check := check_of(model)) is not None},
    )  # fmt: skip


def read_inference_job(store: MetaStore, job_id: str) -> ObservedInferenceJob:
    trial_ids = [s.trial_id for s in store.inference_jobs.list_served_trials(job_id)]
    environments = {}
    for trial_id in trial_ids:
        sub = store.train_jobs.get_sub_train_job(store.trials.get_trial(trial_id).sub_train_job_id)
        environments[trial_id] = environment_of(store.models.get_model(sub.model_id))
    return ObservedInferenceJob(
        job=store.inference_jobs.get_inference_job(job_id), trial_ids=trial_ids,
        ended=[s for s in store.services.list_services(job_id) if not is_live(s)], environments=environments,
        labels={trial_id: store.trials.get_trial(trial_id).label for trial_id in trial_ids},
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_a_look_sees_what_single_reads_see(store: MetaStore, given: Given, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    train_jobs, inference_jobs = fill(store, given, rng)
    for train_job in rng.sample(train_jobs, len(train_jobs) // 3):
        store.train_jobs.set_train_job_status(train_job.id, TrainJobStatus.STOPPED)
    for train_job in rng.sample(train_jobs, len(train_jobs) // 3):
        sub = store.train_jobs.list_sub_train_jobs(train_job.id)[0]
        store.train_jobs.set_sub_train_job_status(sub.id, TrainJobStatus.ERRORED, "why", owner_id=None)
    for inference_job in inference_jobs[:1]:
        store.inference_jobs.set_inference_job_status(inference_job.id, InferenceJobStatus.STOPPED)
    live = store.services.list_live_services()
    reports = {s.id: ServiceReport(state="running") for s in live if rng.random() < 0.7}
    runner = create_autospec(ServiceRunner, instance=True)
    runner.being_started = {s.id for s in live if rng.random() < 0.2}
    runner.being_stopped = {s.id for s in live if s.id not in runner.being_started and rng.random() < 0.2}
    runner.retiring, runner.placed, runner.refusals, runner.most_starts = {}, {}, Refusals(), 16
    runner.adopt.return_value = None
    observer = observer_of(store, runner, reports)

    observed = observer.observe(observer.poll())

    assert observed.train_jobs == [read_train_job(store, j.id) for j in store.train_jobs.list_live_train_jobs()]
    assert observed.inference_jobs == [
        read_inference_job(store, j.id) for j in store.inference_jobs.list_live_inference_jobs()
    ]
    assert [seen.service for seen in observed.services] == [s for s in live if s.id not in runner.being_stopped]
    assert observed.stopping == [s for s in live if s.id in runner.being_stopped]
    assert {seen.service.id: seen.report for seen in observed.services if seen.report} == {
        i: report for i, report in reports.items() if i not in runner.being_stopped
    }
    # Without a handle: what is being started just now is not looked for at the back end.
    adopted = {call.args[0].id for call in runner.adopt.call_args_list}
    assert adopted == {s.id for s in live} - runner.being_stopped - runner.being_started
