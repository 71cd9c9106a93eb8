"""plan() with plain values: what is wanted, what is seen, and what is to be done about the difference."""

from __future__ import annotations

import random
from datetime import timedelta

import msgspec
import pytest
from support.services.planner_world import (
    ADVISOR,
    CLEAN,
    INFERENCE,
    KILLED,
    LIVE,
    MAX_RESTARTS,
    NOW,
    PREDICT,
    TRAIN,
    World,
    act,
    check_slots_and_gpus,
    live,
    local_gpus,
    slots,
    started,
    steady_inference,
    steady_train,
)

from rafiki.admin.planner import (
    FailSearch,
    NoteEnded,
    NoteRunning,
    SetInferenceJobStatus,
    SetTrainJobStatus,
    StartService,
    StopService,
    share_gpus,
)
from rafiki.budget import InferenceBudget, TrainBudget
from rafiki.constants import InferenceJobStatus, ServiceStatus, ServiceType, TrainJobStatus
from rafiki.container.base import ServiceExit
from rafiki.environments.state import EnvironmentState, EnvironmentStatus
from rafiki.messages import ServiceReport

# ---- start-up and the steady state


def test_nothing_is_to_be_done_without_jobs() -> None:
    assert World(n_subs=0).plan() == []


def test_a_new_train_job_gets_an_advisor_and_workers_for_each_model() -> None:
    actions = World(n_subs=2, budget={"CPU_WORKER_COUNT": 2}).plan()
    assert slots(actions) == [
        (k, f"sub{i}", n) for i in (0, 1) for k, n in [("ADVISOR", 0), ("TRAIN", 0), ("TRAIN", 1)]
    ]
    assert {(a.attempt, a.job_id) for a in started(actions)} == {(1, "job")}


def test_a_new_inference_job_gets_its_workers_before_its_predictor() -> None:
    actions = World(n_subs=0, n_trials=2, budget={"REPLICA_COUNT": 2}).plan()
    assert slots(actions) == [("INFERENCE", f"t{i}", n) for i in (0, 1) for n in (0, 1)] + [("PREDICT", "ijob", 0)]


@pytest.mark.parametrize("world", [steady_train(3, CPU_WORKER_COUNT=2), steady_inference(2, REPLICA_COUNT=2)])
def test_nothing_is_to_be_done_while_everything_runs(world: World) -> None:
    assert world.plan() == []
    world.now += timedelta(days=1)
    # A service that is silent for a while (the cache was restarted) is left alone.
    world.reports.clear()
    assert world.plan() == []


# ---- GPUs


@pytest.mark.parametrize(
    ("gpu_count", "n_models", "expected"),
    [(0, 2, [0, 0]), (1, 3, [1, 0, 0]), (4, 2, [2, 2]), (5, 2, [3, 2]), (3, 1, [3])],
)
def test_gpus_are_shared_out_evenly(gpu_count: int, n_models: int, expected: list[int]) -> None:
    assert share_gpus(gpu_count, n_models) == expected


def test_one_gpu_a_worker_and_a_cpu_worker_for_a_model_without() -> None:
    world = World(n_subs=3, budget={"GPU_COUNT": 2, "CPU_WORKER_COUNT": 2})
    world.gpus = local_gpus(0, 4, 7)
    workers = [(a.unit_id, a.slot, a.gpus) for a in started(world.plan()) if a.service_type is TRAIN]
    assert workers == [("sub0", 0, local_gpus(0)), ("sub1", 0, local_gpus(4)), ("sub2", 0, []), ("sub2", 1, [])]


def test_served_trials_share_the_gpus_of_their_job() -> None:
    world = World(n_subs=0, n_trials=2, budget={"GPU_COUNT": 3, "REPLICA_COUNT": 2})
    world.gpus = local_gpus(0, 1, 2, 3)
    assert [a.gpus for a in started(world.plan())] == [local_gpus(0), local_gpus(1), local_gpus(2), [], []]


def test_a_worker_waits_while_no_gpu_is_free_and_starts_when_one_is() -> None:
    world = World(n_subs=1, budget={"GPU_COUNT": 2})
    world.gpus = local_gpus(0, 1)
    holder = world.service(TRAIN, "sub-of-another-job", gpus=local_gpus(0), job_id="other")
    world.exits[holder.id] = CLEAN
    # What has ended but was not cleaned up yet may still have processes on it.
    assert [a.gpus for a in started(world.plan()) if a.service_type is TRAIN] == [local_gpus(1)]
    world.services.remove(holder)
    assert [a.gpus for a in started(world.plan()) if a.service_type is TRAIN] == [local_gpus(0), local_gpus(1)]


def test_a_service_that_is_being_ended_keeps_its_slot_and_its_gpu_until_it_is_gone() -> None:
    world = steady_train(1)
    world.job = msgspec.structs.replace(world.job, budget=TrainBudget(gpu_count=1))
    world.gpus = local_gpus(0)
    worker = live(world, TRAIN)[0]
    world.change(worker, gpus=local_gpus(0))
    world.stopping = [s for s in world.services if s.id == worker.id]
    assert world.plan() == []
    # Not for another job either.
    world.trial_ids = ["t0"]
    world.inference_job = msgspec.structs.replace(world.inference_job, budget=InferenceBudget(gpu_count=1))
    assert slots(world.plan()) == [("PREDICT", "ijob", 0)]
    world.stopping = []
    world.change(worker, status=ServiceStatus.ERRORED, gpus=local_gpus(0), datetime_stopped=world.now)
    assert [(a.unit_id, a.gpus) for a in started(world.plan())] == [("sub0", local_gpus(0)), ("ijob", [])]


# ---- services that end


def test_a_lost_worker_is_noted_first_and_restarted_at_the_next_look() -> None:
    world = steady_train()
    worker = live(world, TRAIN)[0]
    world.exits[worker.id] = KILLED
    assert world.plan() == [NoteEnded(service=worker, error=KILLED.reason)]
    world.change(worker, status=ServiceStatus.ERRORED, error=KILLED.reason, datetime_stopped=world.now)
    assert [(a.unit_id, a.slot, a.attempt) for a in started(world.plan())] == [("sub0", 0, 2)]


def test_restarts_come_later_and_later_and_then_no_more() -> None:
    world = steady_train(1, CPU_WORKER_COUNT=2)
    worker = live(world, TRAIN)[0]
    world.services.remove(worker)
    delays = []
    for n_failures in range(1, MAX_RESTARTS + 1):
        ended_at = world.now
        world.failure(TRAIN, "sub0", worker.slot, ago_s=0.0)
        while not started(world.plan()):
            world.now += timedelta(seconds=0.5)
        delays.append((world.now - ended_at).total_seconds())
        assert started(world.plan())[0].slot == worker.slot
        assert n_failures <= MAX_RESTARTS
    assert delays == [0.0, 1.0, 2.0]
    world.failure(TRAIN, "sub0", worker.slot)
    world.now += timedelta(days=1)
    assert world.plan() == []


@pytest.mark.parametrize("kind", [ADVISOR, TRAIN])
def test_a_search_whose_services_cannot_run_is_failed_with_the_last_reason(kind: ServiceType) -> None:
    world = steady_train(2)
    for s in live(world, kind):
        if s.unit_id == "sub0":
            world.services.remove(s)
    for i in range(MAX_RESTARTS + 1):
        world.failure(kind, "sub0", error=f"failure {i}")
    (action,) = world.plan()
    assert isinstance(action, FailSearch)
    assert action.sub.id == "sub0"
    assert action.error.endswith(f"failure {MAX_RESTARTS}")


def test_a_search_goes_on_while_one_of_its_workers_can_run() -> None:
    world = steady_train(1, CPU_WORKER_COUNT=2)
    world.services.remove(next(s for s in live(world, TRAIN) if s.slot == 1))
    for _ in range(MAX_RESTARTS + 1):
        world.failure(TRAIN, "sub0", 1)
    assert world.plan() == []


def test_a_permanent_failure_is_not_tried_again() -> None:
    world = steady_train()
    worker = live(world, TRAIN)[0]
    world.exits[worker.id] = ServiceExit(code=1, reason="exit code 1")
    world.reports[worker.id] = ServiceReport(state="failed", reason="no class Tiny", is_permanent=True)
    assert world.plan() == [NoteEnded(service=worker, error="no class Tiny", is_permanent=True)]
    world.change(
        worker, status=ServiceStatus.ERRORED, error="no class Tiny", is_permanent=True, datetime_stopped=world.now
    )
    assert world.plan() == [FailSearch(sub=world.subs[0], error="no class Tiny")]


def test_what_a_service_said_of_its_failure_is_preferred_to_its_exit_code() -> None:
    world = steady_train()
    advisor = live(world, ADVISOR)[0]
    world.exits[advisor.id] = ServiceExit(code=5, reason="exit code 5")
    world.reports[advisor.id] = ServiceReport(state="failed", reason="the cache stays away")
    assert world.plan() == [NoteEnded(service=advisor, error="the cache stays away")]


def test_a_service_that_ran_long_enough_starts_its_count_anew() -> None:
    world = steady_train()
    world.services.remove(live(world, TRAIN)[0])
    for _ in range(10):
        world.failure(TRAIN, "sub0", ran_s=61.0)
    assert [a.attempt for a in started(world.plan())] == [2]


@pytest.mark.parametrize("is_over", [True, False])
def test_a_worker_that_ends_in_order_is_no_loss_once_its_search_is_over(is_over: bool) -> None:
    world = steady_train(2)
    if is_over:
        world.set_sub(0, TrainJobStatus.STOPPED)
    worker = live(world, TRAIN)[0]
    world.exits[worker.id] = CLEAN
    assert NoteEnded(service=worker, error=None if is_over else CLEAN.reason) in world.plan()


@pytest.mark.parametrize("status", [ServiceStatus.STARTED, ServiceStatus.DEPLOYING])
def test_a_service_counts_as_running_when_it_says_so_and_as_failed_when_it_does_not_in_time(
    status: ServiceStatus,
) -> None:
    world = steady_train()
    worker = live(world, TRAIN)[0]
    world.change(worker, status=status)
    assert world.plan() == [NoteRunning(service_id=worker.id)]
    del world.reports[worker.id]
    # However long it has waited for its image.
    world.now += timedelta(seconds=3600)
    world.starts[worker.id] = 60.0
    assert world.plan() == []
    world.starts[worker.id] = 61.0
    (action,) = world.plan()
    assert isinstance(action, StopService)
    assert action.service.id == worker.id
    assert action.error == "it did not report that it runs within 60 s"


def test_services_without_a_live_job_are_ended() -> None:
    world = steady_train()
    orphan = world.service(TRAIN, "gone", job_id="gone")
    ended = world.service(INFERENCE, "gone", job_id="gone")
    world.exits[ended.id] = KILLED
    assert world.plan() == [StopService(service=orphan), NoteEnded(service=ended, error=None)]


# ---- train jobs


def test_a_job_that_is_to_stop_keeps_its_advisor_and_begins_nothing() -> None:
    world = steady_train(1, CPU_WORKER_COUNT=2)
    world.job = msgspec.structs.replace(world.job, datetime_stop_requested=NOW)
    world.services = []
    assert slots(world.plan()) == [("ADVISOR", "sub0", 0)]


def test_when_one_search_is_over_its_services_end_and_the_others_go_on() -> None:
    world = steady_train(2)
    world.set_sub(0, TrainJobStatus.STOPPED)
    stopped = [a.service.unit_id for a in world.plan() if isinstance(a, StopService)]
    assert stopped == ["sub0", "sub0"]
    assert len(world.plan()) == 2


@pytest.mark.parametrize(
    ("subs", "status", "error"),
    [
        (["RUNNING", "STARTED"], "RUNNING", None),
        (["STOPPED", "STARTED"], "RUNNING", None),
        (["STOPPED", "STOPPED"], "STOPPED", None),
        (["ERRORED", "STOPPED"], "STOPPED", None),
        (["ERRORED", "ERRORED"], "ERRORED", "model0@1: why; model1@1: why"),
    ],
)
def test_the_status_of_a_job_follows_its_searches(subs: list[str], status: str, error: str | None) -> None:
    world = World(n_subs=2)
    for i, s in enumerate(subs):
        world.set_sub(i, TrainJobStatus(s), "why" if s == "ERRORED" else None)
    changes = [a for a in world.plan() if isinstance(a, SetTrainJobStatus)]
    assert changes == [SetTrainJobStatus(job=world.job, status=TrainJobStatus(status), error=error)]


# ---- inference jobs


def test_a_deployment_runs_when_its_predictor_and_a_worker_of_each_member_run() -> None:
    world = World(n_subs=0, n_trials=2, budget={"REPLICA_COUNT": 2})
    expected = [SetInferenceJobStatus(job=world.inference_job, status=InferenceJobStatus.RUNNING)]
    parts = [(INFERENCE, "t0", 1), (PREDICT, "ijob", 0), (INFERENCE, "t1", 0)]
    for kind, unit, slot in parts:
        assert not any(isinstance(a, SetInferenceJobStatus) for a in world.plan())
        world.service(kind, unit, slot)
    assert [a for a in world.plan() if not isinstance(a, StartService)] == expected


def test_a_deployment_with_one_dead_member_of_two_runs_with_the_other() -> None:
    world = World(n_subs=0, n_trials=2)
    world.failure(INFERENCE, "t0", error="its parameters are damaged", is_permanent=True)
    world.service(PREDICT, "ijob")
    world.service(INFERENCE, "t1")
    assert world.plan() == [SetInferenceJobStatus(job=world.inference_job, status=InferenceJobStatus.RUNNING)]
    world.inference_job = msgspec.structs.replace(world.inference_job, status=InferenceJobStatus.RUNNING)
    assert world.plan() == []


@pytest.mark.parametrize("dead", [INFERENCE, PREDICT])
def test_a_deployment_whose_services_cannot_run_is_errored_with_the_reason_and_then_ended(dead: ServiceType) -> None:
    world = steady_inference(1)
    world.services.remove(live(world, dead)[0])
    world.failure(dead, "ijob" if dead is PREDICT else "t0", error="why", is_permanent=True)
    (action,) = world.plan()
    assert isinstance(action, SetInferenceJobStatus)
    assert action.status is InferenceJobStatus.ERRORED
    assert (action.error or "").endswith("why")
    world.inference_job = msgspec.structs.replace(world.inference_job, status=InferenceJobStatus.ERRORED)
    assert [type(a) for a in world.plan()] == [StopService]


def test_a_deployment_that_is_to_stop_stops_at_once_and_its_predictor_ends_before_those_it_waits_for() -> None:
    world = steady_inference(2)
    world.inference_job = msgspec.structs.replace(world.inference_job, datetime_stop_requested=NOW)
    assert world.plan() == [SetInferenceJobStatus(job=world.inference_job, status=InferenceJobStatus.STOPPED)]
    world.inference_job = msgspec.structs.replace(world.inference_job, status=InferenceJobStatus.STOPPED)
    (predictor,) = live(world, PREDICT)
    assert world.plan() == [StopService(service=predictor)]
    world.stopping = [predictor]
    assert world.plan() == []
    world.stopping = []
    world.services.remove(predictor)
    assert [a.service for a in world.plan() if isinstance(a, StopService)] == live(world, INFERENCE)


# ---- whatever happens


@pytest.mark.parametrize("seed", range(30))
def test_whatever_ends_at_random_slots_and_gpus_are_never_given_twice_and_all_settles(seed: int) -> None:
    rng = random.Random(seed)
    world = World(n_subs=2, n_trials=2, budget={"GPU_COUNT": 2})
    world.job = msgspec.structs.replace(world.job, budget=TrainBudget(gpu_count=3, cpu_worker_count=2))
    world.gpus = local_gpus(0, 1, 2, 3)
    for _ in range(60):
        before = world.services[:]
        for action in world.plan():
            act(world, action)
        check_slots_and_gpus(world)
        running = [s for s in world.services if s.status in LIVE]
        if running and rng.random() < 0.5:
            victim = rng.choice(running)
            if rng.random() < 0.3:
                world.stopping = [victim]
            else:
                world.exits[victim.id] = KILLED
        elif world.stopping:
            gone = world.stopping.pop()
            world.change(gone, status=ServiceStatus.ERRORED, error="it hung", datetime_stopped=world.now)
        world.now += timedelta(seconds=rng.choice([0.1, 1.0, 120.0]))
        assert len(world.services) >= len(before)
    world.stopping = []
    for _ in range(40):
        for action in world.plan():
            act(world, action)
        world.now += timedelta(seconds=60)
    assert world.plan() == []


@pytest.mark.parametrize(("silent_s", "n_stops"), [(119.0, 0), (121.0, 1)])
def test_a_running_service_that_gives_no_sign_of_life_is_ended(silent_s: float, n_stops: int) -> None:
    world = steady_train()
    hung = next(s for s in world.services if s.service_type is TRAIN)
    world.silences[hung.id] = silent_s
    stops = [a for a in world.plan() if isinstance(a, StopService)]
    assert [a.service for a in stops] == [hung] * n_stops
    assert all(a.error == "it gave no sign of life for 120 s" for a in stops)


# ---- packages that models depend on

BUILDING = EnvironmentState(status=EnvironmentStatus.BUILDING, key="k")
READY = EnvironmentState(status=EnvironmentStatus.READY, key="k", python="/p")
FAILED = EnvironmentState(status=EnvironmentStatus.FAILED, key="k", reason="There is no glimmer 3.0.")


def test_workers_of_a_model_wait_until_its_packages_are_installed_and_others_do_not() -> None:
    world = World(n_subs=2)
    world.environments = {"sub0": BUILDING, "sub1": READY}
    assert slots(world.plan()) == [("ADVISOR", "sub0", 0), ("ADVISOR", "sub1", 0), ("TRAIN", "sub1", 0)]
    world.environments["sub0"] = READY
    assert ("TRAIN", "sub0", 0) in slots(world.plan())


def test_a_model_whose_packages_cannot_be_installed_ends_its_search_with_that_reason() -> None:
    world = World(n_subs=2)
    world.environments = {"sub0": FAILED}
    actions = world.plan()
    assert [(a.sub.id, a.error) for a in actions if isinstance(a, FailSearch)] == [("sub0", FAILED.reason)]
    assert slots(actions) == [("ADVISOR", "sub1", 0), ("TRAIN", "sub1", 0)]


def test_a_live_worker_is_left_alone_while_its_packages_are_installed_anew() -> None:
    world = steady_train()
    world.environments = {s.id: BUILDING for s in world.subs}
    assert world.plan() == []


def test_a_member_whose_packages_cannot_be_installed_is_left_out_and_the_last_one_ends_the_job() -> None:
    world = World(n_subs=0, n_trials=2)
    world.environments = {"t0": FAILED}
    assert slots(world.plan()) == [("INFERENCE", "t1", 0), ("PREDICT", "ijob", 0)]
    world.environments = {"t0": FAILED, "t1": FAILED}
    [action] = world.plan()
    assert isinstance(action, SetInferenceJobStatus)
    assert action.status is InferenceJobStatus.ERRORED
    assert action.error == f"No inference worker can run: t0, t1: {FAILED.reason}"


def test_inference_workers_wait_for_their_packages_too() -> None:
    world = World(n_subs=0, n_trials=2)
    world.environments = {"t0": BUILDING}
    assert slots(world.plan()) == [("INFERENCE", "t1", 0), ("PREDICT", "ijob", 0)]
