"""What may be freed (pure), and what freeing it does to a stack."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.http.raw_http import Caller
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack, eventually

from rafiki.admin.garbage import (
    GarbageItem,
    Observed,
    ObservedEnvironment,
    ObservedLog,
    ObservedStore,
    plan_garbage,
)
from rafiki.admin.ops.garbage import free_item
from rafiki.constants import GarbageKind
from rafiki.entities import SavedTrial, StoredFile

NOW = datetime(2025, 6, 15, tzinfo=UTC)
DAY_S = 86_400.0
PARAMS, ENVIRONMENTS, LOGS, ORPHANS = GarbageKind


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def trial(no: int, score: float | None = None, **fields: Any) -> SavedTrial:
    """Of one model of a job that has ended long ago."""
    defaults = {
        "id": f"t{no}", "sub_train_job_id": "s1", "train_job_id": "j1", "app": "app", "app_version": 1,
        "is_job_live": False, "no": no, "model_name": "M", "score": score, "params_id": f"p{no}",
        "datetime_started": days_ago(31), "datetime_stopped": days_ago(30),
    }  # fmt: skip
    return SavedTrial(**{**defaults, **fields})


def stored(file_id: str, days: float = 30, size_bytes: int = 10, is_half_written: bool = False) -> StoredFile:
    return StoredFile(
        id=file_id, size_bytes=size_bytes, datetime_modified=days_ago(days), is_half_written=is_half_written
    )


def params_store(*files: StoredFile, referred: frozenset[str] = frozenset(), ours: bool = True) -> ObservedStore:
    return ObservedStore(name="params", files=list(files), referred=referred, is_ours_alone=ours)


def environment(key: str, **fields: Any) -> ObservedEnvironment:
    defaults = {
        "requirements": ["glimmer==1.0"], "size_bytes": 5, "datetime_built": days_ago(30), "n_models": 0,
        "is_in_use": False,
    }  # fmt: skip
    return ObservedEnvironment(key=key, **{**defaults, **fields})


def log(name: str, **fields: Any) -> ObservedLog:
    defaults = {
        "size_bytes": 5, "datetime_modified": days_ago(30), "of": "train abc", "is_live": False,
        "datetime_ended": days_ago(29),
    }  # fmt: skip
    return ObservedLog(name=name, **{**defaults, **fields})


def plan(
    *, what: set[GarbageKind] | None = None, keep: int = 1, older_than_s: float = 7 * DAY_S, **observed: Any
) -> list[GarbageItem]:
    nothing = {
        "trials": [], "served_trial_ids": frozenset(), "last_served_trial_ids": frozenset(), "stores": [],
        "environments": [], "logs": [], "oldest_live_job_started": None,
    }  # fmt: skip
    return plan_garbage(Observed(now=NOW, **{**nothing, **observed}), what=what, keep=keep, older_than_s=older_than_s)


def ids(items: list[GarbageItem]) -> set[str]:
    return {item.id for item in items}


# ---- the plan: parameters


@pytest.mark.parametrize(("keep", "gone"), [(1, {2, 3, 4}), (2, {3, 4}), (4, set()), (100, set())])
def test_the_best_trials_of_each_model_keep_their_parameters(keep: int, gone: set[int]) -> None:
    trials = [trial(no, 1 - no / 10) for no in range(1, 5)]
    assert ids(plan(trials=trials, keep=keep)) == {f"params:t{no}" for no in gone}


def test_models_and_jobs_are_counted_apart() -> None:
    trials = [
        trial(1, 0.9), trial(2, 0.8),
        trial(3, 0.1, sub_train_job_id="s2"), trial(4, 0.05, sub_train_job_id="s2"),
        trial(5, 0.01, sub_train_job_id="s3", train_job_id="j2"),
    ]  # fmt: skip
    assert ids(plan(trials=trials)) == {"params:t2", "params:t4"}


@pytest.mark.parametrize(
    "reason",
    [
        {"served_trial_ids": frozenset({"t2"})},
        {"last_served_trial_ids": frozenset({"t2"})},
        {"trials": [trial(1, 0.9), trial(2, 0.8, is_job_live=True)]},
        {"trials": [trial(1, 0.9), trial(2, 0.8, datetime_stopped=days_ago(6.9))]},
        {"trials": [trial(1, 0.9), trial(2, 0.8, datetime_stopped=None)]},
    ],
    ids=["served", "served last", "of a live job", "recent", "not ended"],
)
def test_parameters_of_use_are_kept(reason: dict[str, Any]) -> None:
    trials = [trial(1, 0.9), trial(2, 0.8)]
    assert ids(plan(trials=trials)) == {"params:t2"}
    assert plan(**{"trials": trials, **reason}) == []


def test_an_item_tells_its_size_and_why() -> None:
    store = params_store(stored("p2", size_bytes=1234), referred=frozenset({"p1", "p2"}))
    [item] = plan(trials=[trial(1, 0.9), trial(2, 0.8)], stores=[store])
    assert (item.name, item.size_bytes, item.target) == ("app v1 M#2", 1234, trial(2, 0.8))
    assert item.reason == "number 2 of its model, and not deployed"


# ---- the plan: all else


@pytest.mark.parametrize(
    ("fields", "goes"),
    [
        ({}, True),
        ({"n_models": 1}, False),
        ({"is_in_use": True}, False),
        ({"datetime_built": days_ago(6)}, False),
    ],
)
def test_an_environment_goes_when_nothing_depends_on_it(fields: dict[str, Any], goes: bool) -> None:
    assert ids(plan(environments=[environment("e1", **fields)])) == ({"environments:e1"} if goes else set())


@pytest.mark.parametrize(
    ("fields", "goes"),
    [
        ({}, True),
        ({"datetime_ended": None}, True),
        ({"is_live": True}, False),
        ({"datetime_ended": days_ago(1)}, False),
        ({"datetime_modified": days_ago(1)}, False),
    ],
    ids=["ended long ago", "of no known service", "of a live service", "ended lately", "written lately"],
)
def test_a_log_goes_when_its_service_has_ended(fields: dict[str, Any], goes: bool) -> None:
    assert ids(plan(logs=[log("train-1.log", **fields)])) == ({"logs:train-1.log"} if goes else set())


def test_files_that_nothing_refers_to_go() -> None:
    store = params_store(
        stored("p1"), stored("p2"), stored("new", days=3), stored(".writing-1", is_half_written=True),
        referred=frozenset({"p1"}),
    )  # fmt: skip
    assert ids(plan(stores=[store])) == {"orphans:params:p2", "orphans:params:.writing-1"}


def test_a_file_of_the_last_day_is_no_orphan_yet_whatever_is_asked() -> None:
    store = params_store(stored("p1", days=0.9), stored("p2", days=1.1))
    assert ids(plan(stores=[store], older_than_s=0.0)) == {"orphans:params:p2"}


def test_what_a_live_job_may_have_written_is_no_orphan() -> None:
    store = params_store(stored("before", days=30), stored("since", days=10))
    found = plan(stores=[store], oldest_live_job_started=days_ago(20))
    assert ids(found) == {"orphans:params:before"}


def test_a_store_outside_the_stack_gives_orphans_only_when_they_are_named() -> None:
    shared = params_store(stored("p1"), ours=False)
    assert plan(stores=[shared]) == []
    assert ids(plan(stores=[shared], what={ORPHANS})) == {"orphans:params:p1"}


def test_only_the_kinds_that_are_named_go_each_with_the_largest_first() -> None:
    everything = {
        "trials": [trial(1, 0.9), trial(2, 0.8)],
        "environments": [environment("small"), environment("large", size_bytes=50)],
        "logs": [log("train-1.log")],
        "stores": [params_store(stored("p9"), referred=frozenset({"p1", "p2"}))],
    }
    found = plan(**everything)
    assert [item.kind for item in found] == [PARAMS, ENVIRONMENTS, ENVIRONMENTS, LOGS, ORPHANS]
    assert [item.target for item in found if item.kind is ENVIRONMENTS] == ["large", "small"]
    assert {item.kind for item in plan(**everything, what={LOGS, PARAMS})} == {LOGS, PARAMS}


# ---- a stack


@pytest.fixture(scope="module")
def owner(people: People) -> Caller:
    return people.superadmin.make_user("MODEL_DEVELOPER")


def collect(who: Caller, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = who.ok("POST", "/actions/collect_garbage", json={"older_than_s": 0, **fields})
    return found


def items_of(answer: dict[str, Any], app: str) -> list[dict[str, Any]]:
    return [item for item in answer["items"] if item["name"].startswith(f"{app} ")]


def finish(owner: Caller, n_trials: int = 4) -> tuple[str, list[dict[str, Any]]]:
    """A finished job, and its trials with the best first."""
    app = owner.run_job(budget={"MODEL_TRIAL_COUNT": n_trials})
    return app, sorted(owner.trials(app), key=lambda t: -t["score"])


def params_files(stack: RunningStack) -> set[str]:
    return {f.name for f in (stack.root / "params").iterdir()}


def test_parameters_that_go_are_told_first_and_then_freed(people: People, owner: Caller, stack: RunningStack) -> None:
    app, best_first = finish(owner)
    before = params_files(stack)
    told = collect(people.admin, keep=2, what=["params"])
    mine = items_of(told, app)
    assert {item["id"] for item in mine} == {f"params:{t['id']}" for t in best_first[2:]}
    assert not told["is_applied"]
    assert [item["is_freed"] for item in mine] == [False, False]
    assert (params_files(stack), owner.trials(app)[0]["is_params_saved"]) == (before, True)

    freed = collect(people.admin, keep=2, what=["params"], apply=True, only=[item["id"] for item in mine])
    assert [item["is_freed"] for item in freed["items"]] == [True, True]
    assert freed["size_bytes"] == sum(item["size_bytes"] for item in mine) > 0
    assert len(before - params_files(stack)) >= 2
    kept = {t["id"]: t["is_params_saved"] for t in owner.trials(app)}
    assert [kept[t["id"]] for t in best_first] == [True, True, False, False]
    # What else a trial tells stays.
    assert {t["id"]: (t["score"], t["status"]) for t in owner.trials(app)} == {
        t["id"]: (t["score"], t["status"]) for t in best_first
    }
    message = owner.refused("InvalidTrialError", "GET", f"/trials/{best_first[3]['id']}/parameters")
    assert "rafiki gc" in message
    assert owner.ok("POST", "/inference_jobs", json={"app": app, "app_version": -1})["predictor_host"]
    owner.ok("POST", f"/inference_jobs/{app}/-1/stop")


def test_nothing_goes_but_what_was_named(people: People, owner: Caller) -> None:
    app, best_first = finish(owner)
    freed = collect(people.admin, keep=1, apply=True, only=[f"params:{best_first[1]['id']}", "params:unknown"])
    assert [item["id"] for item in freed["items"]] == [f"params:{best_first[1]['id']}"]
    assert [t["no"] for t in owner.trials(app) if not t["is_params_saved"]] == [best_first[1]["no"]]


def test_what_is_served_and_what_was_served_last_stay(people: People, owner: Caller) -> None:
    app, best_first = finish(owner)
    setting = {"method": "mean", "size": 3}
    owner.ok("POST", "/inference_jobs", json={"app": app, "app_version": -1, "ensemble": setting})
    expected = [f"params:{best_first[3]['id']}"]
    assert [item["id"] for item in items_of(collect(people.admin, keep=1), app)] == expected
    owner.ok("POST", f"/inference_jobs/{app}/-1/stop")
    assert [item["id"] for item in items_of(collect(people.admin, keep=1), app)] == expected


def test_a_live_job_keeps_all_of_its_parameters(people: People, owner: Caller) -> None:
    app = owner.start_job(budget={"MODEL_TRIAL_COUNT": 100_000, "TIME_HOURS": 1})
    eventually(lambda: len(owner.trials(app)) > 3, "some trials")
    assert items_of(collect(people.admin, keep=1), app) == []
    owner.ok("POST", f"/train_jobs/{app}/-1/stop")
    assert items_of(collect(people.admin, keep=1), app)


def test_logs_of_services_that_ended_go_and_those_of_live_ones_stay(
    people: People, owner: Caller, stack: RunningStack
) -> None:
    others = {item["id"] for item in collect(people.admin, what=["logs"])["items"]}
    finish(owner, 1)
    running = owner.start_job(train_args={"sleep_s": 60})
    eventually(lambda: owner.trials(running), "the first trial")
    logs = stack.root / "logs"
    live = {f"{s['service_type'].lower()}-{s['id']}.log" for s in people.admin.ok("GET", "/services")}
    assert live
    mine = {item["id"] for item in collect(people.admin, what=["logs"])["items"]} - others
    freed = collect(people.admin, what=["logs"], apply=True, only=sorted(mine))
    assert len(freed["items"]) >= 2
    assert {item["error"] for item in freed["items"]} == {None}
    left = {f.name for f in logs.iterdir()}
    assert {name for name in live if name.startswith(("train", "advisor"))} <= left
    assert {"admin.log", "cache.log"} <= left
    assert not {item["id"].removeprefix("logs:") for item in freed["items"]} & left
    owner.ok("POST", f"/train_jobs/{running}/-1/stop")


def age(file: Path, days: float) -> Path:
    old = time.time() - days * DAY_S
    os.utime(file, (old, old))
    return file


def test_files_without_a_record_go_once_they_are_old(people: People, stack: RunningStack) -> None:
    params, datasets = stack.root / "params", stack.root / "datasets"
    name = f"{'0' * 8}-0000-0000-0000-{os.getpid():012d}.{'a' * 64}"
    orphans = [params / f"{name}.safetensors", params / f"{name}.validation", datasets / name, params / ".writing-dead"]
    fresh = params / f"{'1' * 8}{name[8:]}.safetensors"
    foreign = params / "notes.txt"
    for file in [*orphans, fresh, foreign]:
        file.write_bytes(b"x" * 7)
    for file in [*orphans, foreign]:
        age(file, 20)
    freed = collect(people.admin, what=["orphans"], apply=True)
    assert {(i["id"], i["size_bytes"], i["is_freed"]) for i in freed["items"]} == {
        (f"orphans:params:{name}", 14, True),
        (f"orphans:datasets:{name}", 7, True),
        ("orphans:params:.writing-dead", 7, True),
    }
    assert not any(file.exists() for file in orphans)
    assert fresh.exists()
    assert foreign.exists()
    fresh.unlink()
    foreign.unlink()


@pytest.mark.parametrize("who", ["model_developer", "app_developer", "nobody"])
def test_only_admins_free_anything(people: People, who: str) -> None:
    getattr(people, who).refused("UnauthorizedError", "POST", "/actions/collect_garbage", json={})


@pytest.mark.parametrize(
    "fields", [{"keep": 0}, {"keep": "many"}, {"older_than_s": -1}, {"what": ["everything"]}, {"other": 1}]
)
def test_wrong_fields_are_refused(people: People, fields: dict[str, Any]) -> None:
    people.admin.refused("InvalidRequestError", "POST", "/actions/collect_garbage", json=fields)


def test_a_trial_that_was_deployed_after_it_was_shown_keeps_its_parameters(people: People, owner: Caller) -> None:
    app, best_first = finish(owner)
    shown = [item["id"] for item in items_of(collect(people.admin, keep=1), app)]
    setting = {"method": "mean", "size": 2}
    owner.ok("POST", "/inference_jobs", json={"app": app, "app_version": -1, "ensemble": setting})
    freed = collect(people.admin, keep=1, apply=True, only=shown)
    assert {item["id"] for item in freed["items"]} == {f"params:{t['id']}" for t in best_first[2:]}
    assert owner.ok("GET", f"/trials/{best_first[1]['id']}/parameters")
    owner.ok("POST", f"/inference_jobs/{app}/-1/stop")


class _Steps:
    """A stack of which only the order of what is done to it counts."""

    def __init__(self, *, may_free: bool) -> None:
        self.done: list[str] = []
        self.store = self.trials = self.params = self
        self._may_free = may_free

    def free_params(self, trial_id: str, params_id: str) -> bool:
        self.done.append(f"free {trial_id} {params_id}")
        return self._may_free

    def delete(self, params_id: str) -> None:
        self.done.append(f"delete {params_id}")


@pytest.mark.parametrize(
    ("may_free", "done", "error"),
    [
        (True, ["free t2 p2", "delete p2"], None),
        (False, ["free t2 p2"], "It has been deployed, or freed, meanwhile."),
    ],
)
def test_a_file_is_deleted_only_after_its_record_let_it_go(may_free: bool, done: list[str], error: str | None) -> None:
    [item] = plan(trials=[trial(1, 0.9), trial(2, 0.8)])
    context = _Steps(may_free=may_free)
    assert free_item(context, item) == error  # type: ignore[arg-type]
    assert context.done == done
