"""Which workers of a member run when the load decides how many: the planner from plain values."""

from __future__ import annotations

import random

import msgspec
import pytest
from support.services.planner_world import (
    INFERENCE,
    RUNNING,
    World,
    act,
    check_slots_and_gpus,
    live,
    scaled_inference,
    started,
)

from rafiki.admin.planner import LostMember, SetInferenceJobStatus, StopService, Wait
from rafiki.constants import InferenceJobStatus, ServiceStatus
from rafiki.container.hosts import Host
from rafiki.deployment import Replicas
from rafiki.entities import Service

UP_TO_4 = Replicas(min=1, max=4)


def slots_of(world: World, trial_id: str = "t0") -> list[int]:
    return sorted(s.slot for s in live(world, INFERENCE) if s.unit_id == trial_id)


def settle(world: World) -> None:
    """Do what is planned until nothing more is."""
    for _ in range(20):
        actions = world.plan()
        if not actions:
            return
        for action in actions:
            act(world, action)
    raise AssertionError("the planner does not settle")


def stopped(world: World) -> list[Service]:
    return [a.service for a in world.plan() if isinstance(a, StopService)]


def test_each_member_has_as_many_workers_as_are_wanted_of_it() -> None:
    world = scaled_inference(2, UP_TO_4, t0=3, t1=1)
    assert (slots_of(world, "t0"), slots_of(world, "t1")) == ([0, 1, 2], [0])
    world.wanted = {"t0": 1, "t1": 2}
    settle(world)
    assert (len(slots_of(world, "t0")), len(slots_of(world, "t1"))) == (1, 2)


def test_until_the_load_is_known_there_are_as_many_as_there_must_be() -> None:
    assert slots_of(scaled_inference(1, Replicas(min=2, max=4))) == [0, 1]
    assert slots_of(scaled_inference(1, Replicas(min=0, max=4))) == [0]


def test_what_is_wanted_no_more_is_told_to_answer_first_what_it_holds() -> None:
    world = scaled_inference(1, UP_TO_4, t0=3)
    world.wanted = {"t0": 1}
    stops = [a for a in world.plan() if isinstance(a, StopService)]
    assert len(stops) == 2 and all(a.is_drained and a.error is None and not a.is_replaced for a in stops)
    assert started(world.plan()) == []


def test_of_those_that_run_and_those_that_start_the_latter_go_first() -> None:
    world = scaled_inference(1, UP_TO_4, t0=3)
    first = next(s for s in live(world, INFERENCE) if s.slot == 0)
    world.change(first, status=ServiceStatus.STARTED)
    del world.reports[first.id]
    world.wanted = {"t0": 2}
    assert [s.slot for s in stopped(world)] == [0]
    world.wanted = {"t0": 1}
    assert [s.slot for s in stopped(world)] == [0, 2] or [s.slot for s in stopped(world)] == [2, 0]


def test_one_that_dies_is_started_again_in_its_place_alone() -> None:
    world = scaled_inference(1, UP_TO_4, t0=2)
    second = next(s for s in live(world, INFERENCE) if s.slot == 1)
    world.change(second, status=ServiceStatus.ERRORED, datetime_stopped=world.now, error="it broke")
    assert [a.slot for a in started(world.plan())] == [1]
    assert stopped(world) == []


def test_a_deployment_sleeps_with_its_predictor_and_wakes() -> None:
    world = scaled_inference(2, Replicas(min=0, max=4), t0=1, t1=1)
    world.wanted = {"t0": 0, "t1": 0}
    settle(world)
    assert live(world, INFERENCE) == []
    assert [str(s.service_type) for s in world.services if s.status is ServiceStatus.RUNNING] == ["PREDICT"]
    assert world.inference_job.status is InferenceJobStatus.RUNNING
    world.wanted = {"t0": 1, "t1": 2}
    settle(world)
    assert (slots_of(world, "t0"), slots_of(world, "t1")) == ([0], [0, 1])


def test_one_that_fails_for_good_when_it_is_woken_ends_the_deployment_with_the_reason() -> None:
    world = scaled_inference(1, Replicas(min=0, max=4), t0=0)
    world.wanted = {"t0": 1}
    world.failure(INFERENCE, "t0", 0, error="the model does not load", is_permanent=True)
    (action,) = world.plan()
    assert isinstance(action, SetInferenceJobStatus)
    assert action.status is InferenceJobStatus.ERRORED and "the model does not load" in (action.error or "")


def test_a_worker_too_many_that_cannot_run_is_told_and_the_others_serve() -> None:
    world = scaled_inference(1, Replicas(min=1, max=2), t0=1)
    world.wanted = {"t0": 2}
    world.failure(INFERENCE, "t0", 1, error="no memory", is_permanent=True)
    assert started(world.plan()) == [] and stopped(world) == []
    assert world.lost() == [LostMember(job_id="ijob", trial_id="t0", count=1, of=2, reason="no memory")]
    world.wanted = {"t0": 1}
    assert world.lost() == [] and stopped(world) == []


@pytest.mark.parametrize("cores", [2.0, 3.0])
def test_the_load_gets_a_core_for_each_worker_and_the_deployed_ones_are_not_asked(cores: float) -> None:
    world = scaled_inference(1, Replicas(min=1, max=8), t0=1)
    world.hosts = [Host(name="local", cores=cores)]
    world.service_hosts = {s.id: "local" for s in world.services}
    world.wanted = {"t0": 6}
    for action in started(world.plan()):
        world.place(action)
    assert len(live(world, INFERENCE)) == int(cores)
    n = 6 - int(cores)
    reason = f"node local has a worker for each of its {cores:g} cores"
    assert world.waits() == [Wait(service_type=INFERENCE, job_id="ijob", unit_id="t0", count=n, of=6, reason=reason)]
    # Whoever deploys two gets them, on one core, too.
    other = scaled_inference(2, Replicas(min=2, max=8))
    assert len(live(other, INFERENCE)) == 4


def test_other_limits_keep_those_that_run() -> None:
    world = scaled_inference(1, Replicas(min=1, max=8), t0=6)
    ended = [s for s in live(world, INFERENCE) if s.slot in (0, 1, 2)]
    for service in ended:
        world.change(service, status=ServiceStatus.STOPPED, datetime_stopped=world.now)
    job = world.inference_job
    limits = msgspec.structs.replace(job.deployment, replicas=Replicas(min=1, max=2))
    world.inference_job = msgspec.structs.replace(job, deployment=limits)
    world.wanted = {"t0": 2}
    assert started(world.plan()) == []
    assert [s.slot for s in stopped(world)] == [5]


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_wanted_and_ends_no_slot_is_taken_twice_and_all_settles(seed: int) -> None:
    chance = random.Random(seed)
    world = scaled_inference(2, Replicas(min=0, max=4), t0=1, t1=1)
    for _ in range(30):
        world.wanted = {t: chance.randint(0, 4) for t in world.trial_ids}
        for service in live(world, INFERENCE):
            if chance.random() < 0.2:
                world.change(service, status=ServiceStatus.STOPPED, datetime_stopped=world.now)
        for action in world.plan():
            if chance.random() < 0.7:
                act(world, action)
        check_slots_and_gpus(world)
    for service in live(world, INFERENCE):
        world.reports[service.id] = RUNNING
    settle(world)
    assert {t: len(slots_of(world, t)) for t in world.trial_ids} == world.wanted
