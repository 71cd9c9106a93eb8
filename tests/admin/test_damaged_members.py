"""A member of an ensemble whose parameters are damaged or gone: told, left out, and replaced where that is allowed."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from support.http.raw_http import Caller
from support.services.planner_world import INFERENCE, NOW, World, report_of, slots, steady_inference
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack, eventually
from support.terminals.command_line import run_here

from rafiki.admin.planner import ReplaceMembers, SetInferenceJobStatus, StartService, StopService, decide
from rafiki.constants import InferenceJobStatus
from rafiki.deployment import Deployment
from rafiki.ensembles import EnsembleSummary, ReplacedMember
from rafiki.utils.ids import trial_label

DAMAGED = "its parameters are damaged"


def lose(world: World, trial_id: str, slot: int = 0) -> None:
    world.services = [s for s in world.services if (s.unit_id, s.slot) != (trial_id, slot)]
    world.failure(INFERENCE, trial_id, slot, error=DAMAGED, is_permanent=True)


def allow(world: World) -> None:
    world.inference_job = msgspec.structs.replace(world.inference_job, deployment=Deployment(replace_damaged=True))


# ---- what is planned


def test_a_lost_member_is_told_and_the_others_go_on() -> None:
    world = steady_inference(2)
    assert world.lost() == []
    lose(world, "t0")
    [lost] = world.lost()
    assert (lost.job_id, lost.trial_id, lost.count, lost.of, str(lost)) == ("ijob", "t0", 1, 1, DAMAGED)
    assert world.plan() == []


def test_a_member_of_which_one_worker_is_lost_serves_and_is_told() -> None:
    world = steady_inference(1, REPLICA_COUNT=2)
    lose(world, "t0", slot=1)
    [lost] = world.lost()
    assert (lost.count, lost.of, str(lost)) == (1, 2, f"1 of 2 workers cannot run: {DAMAGED}")
    allow(world)
    assert world.plan() == []


def test_members_are_chosen_again_where_that_is_allowed_and_the_job_waits_for_it() -> None:
    world = steady_inference(2)
    allow(world)
    for trial_id in ("t0", "t1"):
        lose(world, trial_id)
    lost = dict.fromkeys(["t0", "t1"], DAMAGED)
    assert world.plan() == [ReplaceMembers(job=world.inference_job, lost=lost)]
    assert all(m.is_being_replaced for m in world.lost())
    world.is_choosing = True
    assert world.plan() == []


def test_a_job_ends_when_all_its_members_are_lost_and_no_others_were_found() -> None:
    world = steady_inference(2)
    allow(world)
    for trial_id in ("t0", "t1"):
        lose(world, trial_id)
    world.irreplaceable = frozenset({"t0", "t1"})
    [action] = world.plan()
    assert isinstance(action, SetInferenceJobStatus)
    assert (action.status, action.error) == (
        InferenceJobStatus.ERRORED, f"No inference worker can run: t0, t1: {DAMAGED}",
    )  # fmt: skip


def test_a_worker_that_is_killed_again_and_again_is_lost_and_not_replaced() -> None:
    world = steady_inference(2)
    allow(world)
    world.services = [s for s in world.services if s.unit_id != "t0"]
    for _ in range(5):
        world.failure(INFERENCE, "t0", error="it was killed")
    assert [m.trial_id for m in world.lost()] == ["t0"]
    assert world.plan() == []


def test_a_predictor_asks_new_members_once_they_run_and_then_the_former_ones_end() -> None:
    world = steady_inference(2)
    allow(world)
    lose(world, "t0")
    replaced = ReplacedMember(
        trial_id="t0", label="m#1", reason=DAMAGED, datetime_replaced=NOW + timedelta(seconds=1)
    )  # fmt: skip
    world.inference_job = msgspec.structs.replace(world.inference_job, ensemble=EnsembleSummary(replaced=[replaced]))
    # Chosen again, the ensemble has another member in the place of the healthy one, too.
    world.trial_ids = ["t2", "t3"]
    world.now = NOW + timedelta(seconds=2)
    starts = world.plan()
    assert slots(starts) == [("INFERENCE", "t2", 0), ("INFERENCE", "t3", 0)]
    assert len(starts) == 2  # nothing ends before there is something in its place
    for action in starts:
        assert isinstance(action, StartService)
        world.place(action)
    # The predictor asks the former ones, until it has been told.
    world.serves = report_of("t0", "t1")
    assert world.plan() == []
    world.serves = report_of("t2", "t3", former=1)
    assert world.plan() == []  # a former member is still waited for
    world.serves = report_of("t2", "t3")
    assert [a.service.unit_id for a in world.plan() if isinstance(a, StopService)] == ["t1"]


def test_a_predictor_is_told_of_new_members_once_they_run() -> None:
    world = steady_inference(1)
    replaced = ReplacedMember(trial_id="t9", label="m#9", reason=DAMAGED, datetime_replaced=NOW)
    world.inference_job = msgspec.structs.replace(world.inference_job, ensemble=EnsembleSummary(replaced=[replaced]))
    [serving] = decide(world.observe()).serving
    assert [(j.trial_ids, j.keeps_members) for j in serving.jobs] == [(("t0",), False)]
    world.trial_ids = ["t2"]
    [serving] = decide(world.observe()).serving
    assert [(j.trial_ids, j.keeps_members) for j in serving.jobs] == [(("t2",), True)]


# ---- a stack


def params_file(stack: RunningStack, trial_id: str) -> Path:
    with contextlib.closing(sqlite3.connect(stack.root / "meta.db")) as db:
        [params_id] = db.execute("SELECT params_id FROM trials WHERE id = ?", [trial_id]).fetchone()
    return stack.root / "params" / f"{params_id}.safetensors"


@pytest.fixture
def damaged(stack: RunningStack) -> Iterator[Any]:
    """Damages files in one of several ways; in the end they are as they were."""
    kept: list[tuple[Path, bytes]] = []

    def damage(file: Path, how: str) -> None:
        data = file.read_bytes()
        kept.append((file, data))
        match how:
            case "truncated":
                os.truncate(file, len(data) // 2)
            case "flipped":
                file.write_bytes(bytes([data[0] ^ 1]) + data[1:])
            case "deleted":
                file.unlink()

    yield damage
    for file, data in kept:
        file.write_bytes(data)


def label_of(me: Caller, trial_id: str) -> str:
    trial = me.ok("GET", f"/trials/{trial_id}")
    return trial_label(trial["model_name"], trial["model_version"], trial["no"])


def ask(job: dict[str, Any]) -> dict[str, Any]:
    answer = httpx.post(f"http://{job['predictor_host']}/predict", json={"query": "q"}, timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def trained(people: People) -> tuple[Caller, str, list[str]]:
    """A train job with four trials; they are told best first."""
    me = people.superadmin.make_user("MODEL_DEVELOPER")
    app = me.run_job(budget={"MODEL_TRIAL_COUNT": 4})
    return me, app, [t["id"] for t in me.trials(app, type="best", max_count=4)]


def running(me: Caller, app: str) -> dict[str, Any]:
    found: dict[str, Any] = me.ok("GET", f"/inference_jobs/{app}/-1")
    return found


@pytest.mark.parametrize("how", ["flipped", "deleted"])
def test_a_damaged_member_is_told_and_the_others_answer(
    stack: RunningStack, people: People, trained: tuple[Caller, str, list[str]], damaged: Any, how: str
) -> None:
    me, app, (best, second, *_) = trained
    environment = {**stack.environment, "RAFIKI_TOKEN": str(me.token), "COLUMNS": "400"}
    damaged(params_file(stack, best), how)
    assert me.send("GET", f"/trials/{best}/parameters").status_code >= 400
    made = me.ok("POST", "/inference_jobs", json={"app": app, "ensemble": {"method": "mean", "size": 2}})
    try:
        job = eventually(lambda: found if (found := running(me, app))["error"] else None, "an error of the job")
        label = label_of(me, best)
        assert (job["status"], job["trial_ids"]) == ("RUNNING", [best, second])
        assert job["error"].startswith(f"1 of 2 members cannot serve. {label}: ")
        assert f"rafiki infer create {app} --version 1 --replace --replace-damaged" in job["error"]
        assert [(m["trial_id"], m["label"], m["is_serving"]) for m in job["lost_members"]] == [(best, label, False)]
        assert job in me.ok("GET", f"/inference_jobs/{app}")
        assert ask(made)["left_out"] == [best]
        shown = run_here("infer", "show", app, folder=stack.folder, environment=environment)
        assert f"({best}) LOST" in shown.stdout
        assert shown.returncode == 0
        told = [w for w in people.superadmin.ok("GET", "/services/waiting") if w["job_id"] == made["id"]]
        assert [(w["is_lost"], w["count"], w["of"]) for w in told] == [(True, 1, 1)]
    finally:
        me.ok("POST", f"/inference_jobs/{app}/-1/stop")


def test_the_next_best_trial_takes_the_place_of_a_damaged_one_where_that_is_allowed(
    stack: RunningStack, people: People, trained: tuple[Caller, str, list[str]], damaged: Any
) -> None:
    me, app, (best, second, third, fourth) = trained
    fields = {"app": app, "ensemble": {"method": "mean", "size": 2}, "deployment": {"replace_damaged": True}}
    made = me.ok("POST", "/inference_jobs", json=fields)
    try:
        assert "left_out" not in ask(made)
        # What it finds when it starts again; the next one in line is damaged as well.
        for trial_id in (best, third):
            damaged(params_file(stack, trial_id), "flipped")
        [worker] = [
            s for s in people.superadmin.ok("GET", "/services")
            if s["job_id"] == made["id"] and s["service_type"] == "INFERENCE"
            and label_of(me, best) in s["name"]
        ]  # fmt: skip
        os.kill(worker["pid"], signal.SIGKILL)

        def is_replaced() -> dict[str, Any] | None:
            job = running(me, app)
            return job if job["trial_ids"] == [second, fourth] and job["error"] is None else None

        job = eventually(is_replaced, "other members")
        assert job["weights"] == [0.5, 0.5]
        assert [m["trial_id"] for m in job["ensemble"]["replaced"]] == [best, third]
        assert all("damaged" in m["reason"] for m in job["ensemble"]["replaced"])

        def has_switched() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                health = httpx.get(f"http://{job['predictor_host']}/").json()
                return bool(health["members"] == [second, fourth] and not health["absent"])
            return False

        eventually(has_switched, "a predictor that asks the new members")
        assert running(me, app)["predictor_host"] == made["predictor_host"]
        assert "left_out" not in ask(made)
        units = [s for s in people.superadmin.ok("GET", "/services") if s["job_id"] == made["id"]]
        assert len(units) == 3
    finally:
        me.ok("POST", f"/inference_jobs/{app}/-1/stop")


def test_a_job_whose_members_are_all_damaged_ends_with_the_reason_of_each(
    stack: RunningStack, trained: tuple[Caller, str, list[str]], damaged: Any
) -> None:
    me, app, trial_ids = trained
    for trial_id in trial_ids:
        damaged(params_file(stack, trial_id), "truncated")
    fields = {"app": app, "ensemble": {"method": "mean", "size": 2}, "deployment": {"replace_damaged": True}}
    me.ok("POST", "/inference_jobs", json=fields)

    def has_ended() -> dict[str, Any] | None:
        job: dict[str, Any] = me.ok("GET", f"/inference_jobs/{app}")[0]
        return job if job["status"] == "ERRORED" else None

    job = eventually(has_ended, "the end of the job")
    assert job["error"].startswith("No inference worker can run: ")
    assert "damaged" in job["error"]
    me.refused("InvalidRunningInferenceJobError", "GET", f"/inference_jobs/{app}/-1")
