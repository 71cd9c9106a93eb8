"""plan() with several hosts: which one a worker is given, which GPU, when it waits, how a draining host runs empty."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import pytest
from support.services.planner_world import (
    CLEAN,
    INFERENCE,
    PREDICT,
    RUNNING,
    TRAIN,
    World,
    act,
    live,
    started,
    steady_inference,
    steady_train,
)

from rafiki.admin.planner import NoteEnded, RetireService, StartService, StopService
from rafiki.budget import TrainBudget
from rafiki.constants import ServiceStatus, ServiceType
from rafiki.container.base import ServiceExit
from rafiki.container.hosts import Host
from rafiki.entities import Gpu

GB = 1 << 30


def hosts(*names: str, cores: float = 4.0, reservable_bytes: int | None = None) -> list[Host]:
    return [Host(name=name, cores=cores, reservable_bytes=reservable_bytes) for name in names]


def gpus(**counts: int) -> list[Gpu]:
    return [Gpu(host, str(i)) for host, count in counts.items() for i in range(count)]


def workers(world: World) -> list[StartService]:
    return [a for a in started(world.plan()) if a.service_type in (TRAIN, INFERENCE)]


def where(world: World, *kinds: str) -> Counter[str]:
    """How many live workers are on each host."""
    return Counter(
        world.service_hosts[s.id] for kind in (TRAIN, INFERENCE) for s in live(world, kind)
        if s.id in world.service_hosts
    )  # fmt: skip


def told(world: World) -> list[str]:
    return [str(wait) for wait in world.waits()]


# ---- spreading


def test_workers_spread_over_hosts_by_their_cores() -> None:
    world = World(budget={"CPU_WORKER_COUNT": 6})
    world.hosts = [Host(name="n1", cores=2.0), Host(name="n2", cores=4.0)]
    world.run_everything()
    assert where(world) == {"n1": 2, "n2": 4}


def test_what_runs_already_counts_that_of_other_jobs_too() -> None:
    world = World(budget={"CPU_WORKER_COUNT": 2})
    world.hosts = hosts("n1", "n2")
    for i in range(2):
        other = world.service(TRAIN, "of-another-job", slot=i, job_id="other")
        world.service_hosts[other.id] = "n1"
    assert [a.host for a in workers(world)] == ["n2", "n2"]


def test_advisors_and_predictors_are_not_placed() -> None:
    world = World(n_trials=1)
    world.hosts = hosts("n1")
    assert {a.host for a in started(world.plan()) if a.service_type not in (TRAIN, INFERENCE)} == {None}


def test_replicas_of_a_member_are_kept_apart_and_members_too_where_that_is_possible() -> None:
    world = World(n_subs=0, n_trials=2, budget={"REPLICA_COUNT": 2})
    # A host with much more room would take all of them, if only the load counted.
    world.hosts = [Host(name="n1", cores=64.0), Host(name="n2", cores=1.0)]
    placed = {(a.unit_id, a.host) for a in workers(world)}
    assert len(placed) == 4


def test_a_back_end_that_tells_of_no_hosts_chooses_itself() -> None:
    assert {a.host for a in workers(World(budget={"CPU_WORKER_COUNT": 3}))} == {None}


# ---- waiting, and why


def test_a_worker_waits_while_no_host_has_memory_for_it() -> None:
    world = World(budget={"CPU_WORKER_COUNT": 3})
    world.worker_memory_bytes = 8 * GB
    world.hosts = [
        Host(name="n1", cores=4.0, reservable_bytes=10 * GB), Host(name="n2", cores=4.0, reservable_bytes=9 * GB)
    ]  # fmt: skip
    assert [a.host for a in workers(world)] == ["n1", "n2"]
    assert told(world) == ["1 of 3 workers wait: no node has 8 GB free (n1 has 2 GB)"]
    # What runs keeps its memory.
    world.run_everything()
    assert workers(world) == []
    world.change(live(world, TRAIN)[0], status=ServiceStatus.STOPPED, datetime_stopped=world.now)
    assert [a.host for a in workers(world)] == ["n1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"is_draining": True, "is_paused": True}, "node n2 is draining; no other node has 8 GB free (n1 has 0 GB)"),
        ({"is_paused": True}, "node n2 is paused; no other node has 8 GB free (n1 has 0 GB)"),
        ({"is_reached": False}, "node n2 is lost; no other node has 8 GB free (n1 has 0 GB)"),
        (
            {"has_image": False, "can_fetch_image": False},
            "node n2 lacks the image rafiki:1, and cannot pull it; no other node has 8 GB free (n1 has 0 GB)",
        ),
    ],
)
def test_why_no_host_takes_a_worker_is_told_of_each(fields: dict[str, bool], reason: str) -> None:
    world = World()
    world.worker_memory_bytes = 8 * GB
    world.hosts = [Host(name="n1", reservable_bytes=0), Host(name="n2", reservable_bytes=64 * GB)]
    assert [a.host for a in workers(world)] == ["n2"]
    world.set_host("n2", **fields)
    assert workers(world) == []
    assert told(world) == [reason]


def test_many_hosts_are_told_in_one_line() -> None:
    world = World()
    world.hosts = [msgspec.structs.replace(h, is_draining=True) for h in hosts(*(f"n{i}" for i in range(200)))]
    assert told(world) == ["nodes n0, n1, n2 and 197 more are draining"]


def test_an_image_that_can_be_pulled_or_is_the_models_own_is_no_obstacle() -> None:
    world = World()
    world.hosts = [Host(name="n1", has_image=False)]
    assert [a.host for a in workers(world)] == ["n1"]
    world.set_host("n1", can_fetch_image=False)
    assert workers(world) == []
    world.images = {"sub0": "theirs:1"}
    assert [a.host for a in workers(world)] == ["n1"]


def test_a_host_that_could_not_start_a_service_is_not_the_next_to_be_asked() -> None:
    world = World(budget={"CPU_WORKER_COUNT": 2})
    world.hosts = hosts("n1", "n2")
    world.run_everything()
    [lost] = [s for s in live(world, TRAIN) if world.service_hosts[s.id] == "n2"]
    world.exits[lost.id] = ServiceExit(code=None, reason="No such image", refused_by="n2")
    [ended] = [a for a in world.plan() if isinstance(a, NoteEnded)]
    assert ended.refused_by == "n2"
    act(world, ended)
    world.refusals = {("sub0", "n2"): "No such image"}
    assert [a.host for a in workers(world)] == ["n1"]
    # Another model may have another image.
    world.refusals = {("sub1", "n2"): "No such image"}
    assert [a.host for a in workers(world)] == ["n2"]
    world.refusals = {("sub0", h): "No such image" for h in ("n1", "n2")}
    assert told(world) == ["1 of 2 workers wait: nodes n1 and n2 could not start it: No such image"]


# ---- GPUs


def test_gpus_are_pairs_with_their_host_and_spread_over_the_hosts() -> None:
    world = World(budget={"GPU_COUNT": 3})
    world.hosts, world.gpus = hosts("n1", "n2"), gpus(n1=2, n2=2)
    placed = [(a.host, a.gpus) for a in workers(world)]
    assert placed == [("n1", [Gpu("n1", "0")]), ("n2", [Gpu("n2", "0")]), ("n1", [Gpu("n1", "1")])]


def test_a_gpu_on_a_host_that_takes_no_work_is_not_given() -> None:
    world = World(budget={"GPU_COUNT": 2})
    world.hosts, world.gpus = hosts("n1", "n2"), gpus(n1=1, n2=1)
    world.set_host("n1", is_draining=True)
    assert [a.host for a in workers(world)] == ["n2"]
    assert told(world) == ["1 of 2 workers wait: a GPU is free, but node n1 is draining"]


def test_who_holds_the_gpus_is_told_by_name_to_their_owner_and_as_a_number_to_others() -> None:
    world = World(n_trials=1, budget={"GPU_COUNT": 1})
    world.hosts, world.gpus = hosts("n1"), gpus(n1=2)
    for i, job_id in enumerate(("job", "somebody's")):
        holder = world.service(TRAIN, "elsewhere", slot=i, job_id=job_id, gpus=[world.gpus[i]])
        world.service_hosts[holder.id] = "n1"
    world.inference_job = msgspec.structs.replace(world.inference_job, app="served")
    assert told(world)[-1] == "all 2 GPUs are in use by app/1 and 1 other job"
    world.inference_job = msgspec.structs.replace(world.inference_job, user_id="another")
    assert told(world)[-1] == "all 2 GPUs are in use by 2 other jobs"


def test_a_stack_without_gpus_says_so() -> None:
    world = World(budget={"GPU_COUNT": 1})
    world.hosts = hosts("n1")
    assert told(world) == ["there is no GPU"]


def test_workers_of_one_job_share_a_gpu_when_it_says_so_and_those_of_another_never_join_them() -> None:
    world = World(n_trials=1, budget={"GPU_COUNT": 1, "WORKERS_PER_GPU": 2})
    world.hosts, world.gpus = hosts("n1"), gpus(n1=1)
    assert [(a.service_type, a.gpus) for a in workers(world)] == [(TRAIN, gpus(n1=1)), (TRAIN, gpus(n1=1))]
    assert told(world) == ["the only GPU is in use by app/1"]


def test_shared_gpus_are_filled_evenly_over_models() -> None:
    world = World(n_subs=2, budget={"GPU_COUNT": 2, "WORKERS_PER_GPU": 3})
    world.gpus = gpus(n1=2)
    world.hosts = hosts("n1")
    placed = workers(world)
    assert Counter(a.unit_id for a in placed) == {"sub0": 3, "sub1": 3}
    assert Counter(gpu for a in placed for gpu in a.gpus) == dict.fromkeys(gpus(n1=2), 3)


def test_members_of_an_ensemble_are_served_from_one_gpu_when_it_is_shared() -> None:
    world = World(n_subs=0, n_trials=3, budget={"GPU_COUNT": 1, "WORKERS_PER_GPU": 3})
    world.hosts, world.gpus = hosts("n1", "n2"), gpus(n1=1, n2=1)
    assert {(a.host, *a.gpus) for a in workers(world)} == {("n1", Gpu("n1", "0"))}


# ---- draining


def test_a_train_worker_on_a_draining_host_retires_once_and_its_successor_starts_elsewhere() -> None:
    world = World(budget={"CPU_WORKER_COUNT": 2})
    world.hosts = hosts("n1", "n2")
    settle(world)
    leaving = next(s for s in live(world, TRAIN) if world.service_hosts[s.id] == "n1")
    world.set_host("n1", is_draining=True)
    [retire] = [a for a in world.plan() if isinstance(a, RetireService)]
    assert (retire.service, retire.why) == (leaving, "is on node n1, which is draining")
    world.retiring = {leaving.id: retire.advisor_id}
    assert not [a for a in world.plan() if isinstance(a, (RetireService, StopService, StartService))]
    # An admin that has restarted tells it again, and takes the end for what it is.
    world.retiring = {}
    world.exits[leaving.id] = CLEAN
    ended = next(a for a in world.plan() if isinstance(a, NoteEnded))
    assert ended == NoteEnded(service=leaving, error=None)
    act(world, ended)
    assert [(a.host, a.attempt) for a in workers(world)] == [("n2", 2)]


def test_a_worker_that_ends_otherwise_on_a_draining_host_has_failed() -> None:
    world = steady_train()
    world.hosts = hosts("n1")
    [worker] = live(world, TRAIN)
    world.service_hosts[worker.id] = "n1"
    world.set_host("n1", is_draining=True)
    world.exits[worker.id] = ServiceExit(code=1, reason="it ended with exit code 1")
    assert NoteEnded(service=worker, error="it ended with exit code 1") in world.plan()


def test_where_there_is_no_other_host_the_successor_waits() -> None:
    world = World()
    world.hosts = hosts("n1")
    world.set_host("n1", is_draining=True)
    assert workers(world) == []
    assert told(world) == ["node n1 is draining"]
    world.set_host("n1", is_draining=False)
    assert [a.host for a in workers(world)] == ["n1"]


def test_a_member_gets_its_replacement_elsewhere_before_the_old_one_goes() -> None:
    world = World(n_subs=0, n_trials=1, budget={"REPLICA_COUNT": 2})
    world.hosts = hosts("n1", "n2", "n3")
    settle(world)
    assert where(world) == {"n1": 1, "n2": 1}
    old = next(s for s in live(world, INFERENCE) if world.service_hosts[s.id] == "n1")
    world.set_host("n1", is_draining=True)
    [start] = workers(world)
    assert (start.host, start.unit_id) == ("n3", "t0")
    act(world, start)
    new = world.services[-1]
    world.reports.pop(new.id)
    assert world.plan() == [], "the old one serves until the new one does"
    world.reports[new.id] = RUNNING
    stops = [a for a in world.plan() if isinstance(a, StopService)]
    assert [(a.service, a.is_replaced) for a in stops] == [(old, True)]
    act(world, stops[0])
    settle(world)
    assert where(world) == {"n2": 1, "n3": 1}
    # And back, when the next one is drained.
    world.set_host("n1", is_draining=False)
    world.set_host("n3", is_draining=True)
    settle(world)
    assert where(world) == {"n1": 1, "n2": 1}


def test_a_member_that_no_other_host_takes_goes_on_serving_and_says_why() -> None:
    world = World(n_subs=0, n_trials=1)
    world.hosts = hosts("n1", "n2", reservable_bytes=8 * GB)
    world.worker_memory_bytes = 8 * GB
    settle(world)
    world.set_host("n2", reservable_bytes=0)
    world.set_host("n1", is_draining=True)
    assert world.plan() == []
    reason = "it is to leave a draining node, but node n1 is draining; no other node has 8 GB free (n2 has 0 GB)"
    assert told(world) == [reason]


def test_a_host_that_is_used_again_before_its_member_has_left_keeps_it() -> None:
    world = World(n_subs=0, n_trials=1)
    world.hosts = hosts("n1", "n2")
    settle(world)
    [old] = live(world, INFERENCE)
    world.set_host("n1", is_draining=True)
    act(world, workers(world)[0])
    new = world.services[-1]
    world.reports.pop(new.id)
    world.set_host("n1", is_draining=False)
    assert [a.service.id for a in world.plan() if isinstance(a, StopService)] == [new.id]
    assert old in live(world, INFERENCE)


# ---- whatever happens


def settle(world: World) -> None:
    """Do what is planned until nothing is."""
    for _ in range(200):
        actions = world.plan()
        if not actions:
            return
        for action in actions:
            if isinstance(action, RetireService):
                # Its trial ends, and it with it.
                world.retiring[action.service.id] = action.advisor_id
                world.exits[action.service.id] = CLEAN
            else:
                act(world, action)
    pytest.fail("it does not settle")


def check(world: World, workers_per_gpu: int) -> None:
    holders: dict[Gpu, list[str]] = {}
    per_host: Counter[str] = Counter()
    for service in [s for kind in (TRAIN, INFERENCE) for s in live(world, kind)]:
        for gpu in service.gpus:
            holders.setdefault(gpu, []).append(service.job_id)
            assert gpu in world.gpus
            assert world.service_hosts[service.id] == gpu.host
        per_host[world.service_hosts[service.id]] += 1
    for jobs in holders.values():
        assert len(set(jobs)) == 1, "a GPU is one job's alone"
        assert len(jobs) <= workers_per_gpu
    for host in world.hosts:
        if host.reservable_bytes is not None:
            assert per_host[host.name] * world.worker_memory_bytes <= host.reservable_bytes


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_drained_lost_or_full_nothing_is_given_twice_and_what_waits_says_why(seed: int) -> None:
    rng = random.Random(seed)
    shared = rng.choice([1, 1, 2, 3])
    budget = {
        "CPU_WORKER_COUNT": rng.randint(1, 4), "REPLICA_COUNT": rng.randint(1, 3),
        "GPU_COUNT": rng.choice([0, 0, 1, 3]), "WORKERS_PER_GPU": shared,
    }  # fmt: skip
    world = World(n_subs=rng.randint(1, 3), n_trials=rng.randint(0, 3), budget=budget)
    world.job = msgspec.structs.replace(world.job, budget=msgspec.convert(
        {k: v for k, v in budget.items() if k != "REPLICA_COUNT"}, TrainBudget))  # fmt: skip
    names = [f"n{i}" for i in range(rng.randint(1, 5))]
    world.hosts = [
        Host(name=n, cores=float(rng.randint(1, 8)), reservable_bytes=rng.choice([None, rng.randint(0, 6) * GB]))
        for n in names
    ]
    world.gpus = [Gpu(n, str(i)) for n in names for i in range(rng.randint(0, 2))]
    world.worker_memory_bytes = rng.choice([0, GB, 2 * GB])
    for _ in range(25):
        for action in world.plan():
            if isinstance(action, StartService) and action.host is not None:
                host = next(h for h in world.hosts if h.name == action.host)
                assert host.why_closed is None, "nothing begins on a host that takes no work"
        settle(world)
        check(world, shared)
        draining = {h.name for h in world.hosts if h.is_draining}
        left = [s for s in live(world, TRAIN) if world.service_hosts[s.id] in draining]
        assert not left, "a draining host runs empty of train workers"
        assert all(w.reason and 0 < w.count <= w.of for w in world.waits())
        event = rng.random()
        name = rng.choice(names)
        if event < 0.5:
            world.set_host(name, is_draining=rng.random() < 0.5, is_reached=rng.random() < 0.9)
        elif alive := [s for kind in (TRAIN, INFERENCE) for s in live(world, kind)]:
            world.exits[rng.choice(alive).id] = ServiceExit(code=-9, reason="killed")
            world.now = world.now.replace(year=world.now.year + 1)
    # All is well again: then everything runs, or there is no room for it.
    for host in world.hosts:
        world.set_host(host.name, is_draining=False, is_reached=True, reservable_bytes=None)
    world.gpus = [Gpu(n, str(i)) for n in names for i in range(8)]
    settle(world)
    assert world.waits() == []
    assert len(live(world, PREDICT)) == (1 if world.trial_ids else 0)


def test_a_stack_without_hosts_of_its_own_drains_nothing() -> None:
    for world in (steady_train(), steady_inference(2)):
        assert world.plan() == []


# ---- no more than so many at a time


@pytest.mark.parametrize("most", [0, 1, 2, 5, 20])
def test_no_more_is_started_than_may_be_and_what_is_left_comes_later(most: int) -> None:
    world = World(n_subs=2, n_trials=2, budget={"CPU_WORKER_COUNT": 4, "REPLICA_COUNT": 2})
    world.hosts = hosts("n1", "n2", "n3")
    all_wanted = started(world.plan())
    assert len(all_wanted) == 2 * (1 + 4) + 2 * 2 + 1
    world.most_starts = most
    assert started(world.plan()) == all_wanted[:most]
    assert told(world) == []
    for _ in range(len(all_wanted)):
        for action in started(world.plan()):
            world.place(action)
    assert started(world.plan()) == []
    n_started = sum(len(live(world, kind)) for kind in ServiceType)
    assert n_started == (len(all_wanted) if most else 0)


def test_what_waits_for_room_says_so_while_others_are_started() -> None:
    world = World(budget={"CPU_WORKER_COUNT": 3})
    world.hosts = hosts("n1", reservable_bytes=18 * GB)
    world.worker_memory_bytes = 8 * GB
    for action in started(world.plan()):
        world.place(action)
    waits = told(world)
    assert waits == ["1 of 3 workers wait: no node has 8 GB free (n1 has 2 GB)"]
    world.most_starts = 0
    assert told(world) == waits
