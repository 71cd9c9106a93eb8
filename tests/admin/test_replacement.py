"""plan() after an upgrade: what becomes of services that an admin of another version has started."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from support.services.planner_world import (
    ADVISOR,
    CLEAN,
    INFERENCE,
    PREDICT,
    TRAIN,
    World,
    live,
    slots,
    steady_inference,
    steady_train,
)

from rafiki.admin.planner import Action, NoteEnded, RetireService, StopService, plan
from rafiki.messages import OLDEST_PROTOCOL, PROTOCOL, ServiceReport

NEW = ServiceReport(state="running", version="2.0", protocol=PROTOCOL)
OLD = ServiceReport(state="running", version="1.0", protocol=PROTOCOL)
STRANGE = [
    ServiceReport(state="running", version="1.0", protocol=OLDEST_PROTOCOL - 1),
    ServiceReport(state="running", version="3.0", protocol=PROTOCOL + 1),
]


def plan_as_new(world: World, **fields: Any) -> list[Action]:
    return plan(msgspec.structs.replace(world.observe(), version="2.0", **fields))


def report(world: World, found: ServiceReport) -> None:
    for service in world.services:
        world.reports[service.id] = found


def test_services_of_the_same_version_are_left_alone() -> None:
    for world in (steady_train(), steady_inference(2)):
        report(world, NEW)
        assert plan_as_new(world) == []


def test_an_advisor_of_another_version_is_replaced_at_once_and_its_workers_are_not() -> None:
    world = steady_train(CPU_WORKER_COUNT=2)
    report(world, OLD)
    [advisor] = live(world, ADVISOR)
    assert plan_as_new(world) == [StopService(service=advisor, is_replaced=True)]
    world.stopping.append(advisor)
    assert plan_as_new(world) == []


def test_workers_of_another_version_are_retired_by_an_advisor_of_this_one_once_each() -> None:
    world = steady_train(CPU_WORKER_COUNT=2)
    report(world, OLD)
    [advisor] = live(world, ADVISOR)
    world.reports[advisor.id] = NEW
    workers = live(world, TRAIN)
    assert plan_as_new(world) == [RetireService(service=w, advisor_id=advisor.id) for w in workers]
    told = {workers[0].id: advisor.id, workers[1].id: "the advisor before"}
    assert plan_as_new(world, retiring=told) == [RetireService(service=workers[1], advisor_id=advisor.id)]


def test_a_retired_worker_that_ends_is_no_failure_and_another_takes_its_place() -> None:
    world = steady_train()
    report(world, NEW)
    [worker] = live(world, TRAIN)
    world.exits[worker.id] = CLEAN
    retiring = {worker.id: live(world, ADVISOR)[0].id}
    assert plan_as_new(world, retiring=retiring) == [NoteEnded(service=worker, error=None)]
    world.change(worker, status="STOPPED", datetime_stopped=world.now)
    assert slots(plan_as_new(world)) == [("TRAIN", "sub0", 0)]


def test_a_served_app_of_another_version_goes_on() -> None:
    world = steady_inference(2, REPLICA_COUNT=2)
    report(world, OLD)
    assert plan_as_new(world) == []


@pytest.mark.parametrize("strange", STRANGE)
def test_services_that_speak_a_protocol_which_is_not_understood_are_replaced_at_once(strange: ServiceReport) -> None:
    world = steady_inference(1)
    report(world, strange)
    [inference], [predictor] = live(world, INFERENCE), live(world, PREDICT)
    assert plan_as_new(world) == [
        StopService(service=s, is_replaced=True) for s in world.services if s in (inference, predictor)
    ]
    training = steady_train()
    report(training, NEW)
    [worker] = live(training, TRAIN)
    training.reports[worker.id] = strange
    assert plan_as_new(training) == [StopService(service=worker, is_replaced=True)]


def test_a_service_that_has_not_reported_yet_is_waited_for() -> None:
    world = steady_train()
    world.reports.clear()
    assert plan_as_new(world) == []
