"""Each scheme by name through a real stack with two workers; early ends, constraints, first knobs and warm starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.advisor.schemes import SCHEMES
from rafiki.client import Client
from rafiki.errors import InvalidTrainJobError

pytestmark = [pytest.mark.acceptance, pytest.mark.long]
TASK = "SCORED"
N_TRIALS = 12
SCALAR = sorted(set(SCHEMES.names()) - {"fixed", "enas"})


class World:
    def __init__(self, folder: Path) -> None:
        self.stack = RunningStack(folder / "stack")
        self.stack.up()
        self.client: Client = self.stack.client()
        data = folder / "data.bin"
        data.write_bytes(b"1")
        self.dataset_id = self.client.create_dataset("data", TASK, data)["id"]
        made = self.client.create_model("scored", TASK, MODELS / "scored.py", "Scored")
        assert made["load_error"] is None
        self.model_id = made["id"]

    def start(self, app: str, advisor: Any, n_trials: int = N_TRIALS, n_workers: int = 2, **train_args: Any) -> None:
        budget = {"MODEL_TRIAL_COUNT": n_trials, "CPU_WORKER_COUNT": n_workers, "TIME_HOURS": 0.2}
        data = (self.dataset_id, self.dataset_id)
        self.client.create_train_job(app, TASK, *data, budget, [self.model_id], train_args, advisor)

    def finish(self, app: str) -> list[dict[str, Any]]:
        def ended() -> bool:
            return self.client.get_train_job(app)["status"] in ("STOPPED", "ERRORED")

        eventually(ended, f"the end of {app}", 180)
        job = self.client.get_train_job(app)
        assert job["status"] == "STOPPED", (job, self.stack.logs())
        return self.client.get_trials_of_train_job(app)

    def run(self, app: str, advisor: Any, *arguments: Any, **named: Any) -> list[dict[str, Any]]:
        self.start(app, advisor, *arguments, **named)
        return self.finish(app)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("schemes"))
    yield made
    made.stack.down()


@pytest.mark.parametrize("scheme", SCALAR)
def test_a_scheme_searches_by_name_with_two_workers(world: World, scheme: str) -> None:
    options = {"grid": {"points": 3}, "pbt": {"population": 3}}.get(scheme, {})
    advisor = {"scheme": scheme, "options": options, "early_ending": "none"}
    trials = world.run(f"by-{scheme}", advisor, epoch_s=0.02, n_epochs=2)
    assert [t["no"] for t in trials] == list(range(1, N_TRIALS + 1))
    assert {t["status"] for t in trials} == {"COMPLETED"}
    assert {t["proposal"]["scheme"] for t in trials} <= {scheme, "bayes"}
    assert all(t["proposal"]["knobs"]["low"] <= t["proposal"]["knobs"]["high"] for t in trials)
    assert len({t["worker_id"] for t in trials}) == 2
    assert world.client.get_train_job(f"by-{scheme}")["advisor"]["scheme"] == scheme
    if scheme not in ("pbt", "sharing"):
        points = {tuple(sorted(t["proposal"]["knobs"].items())) for t in trials}
        assert len(points) == N_TRIALS


def test_population_based_training_hands_parameters_on(world: World) -> None:
    trials = world.run("lines", {"scheme": "pbt", "options": {"population": 3}}, n_epochs=1)
    parents = {t["no"]: t["proposal"].get("start_from_trial") for t in trials}
    assert any(parent is not None for parent in parents.values())
    by_no = {t["no"]: t for t in trials}
    for no, parent in parents.items():
        if parent is not None:
            trial, reached = by_no[no], by_no[parent]["score"]
            assert trial["score"] == pytest.approx(trial["proposal"]["knobs"]["x"] + 0.01 * reached)


@pytest.mark.parametrize("scheme", ["asha", "random"])
def test_hopeless_trials_end_early_with_what_they_reached_and_say_why(world: World, scheme: str) -> None:
    ending = {"rule": "asha", "eta": 2} if scheme == "random" else "auto"
    trials = world.run(f"early-{scheme}", {"scheme": scheme, "early_ending": ending}, 14, n_epochs=12, epoch_s=0.03)
    ended = [t for t in trials if t["ended_early"]]
    assert ended, trials
    assert {t["status"] for t in trials} == {"COMPLETED"}
    for trial in ended:
        x = trial["proposal"]["knobs"]["x"]
        assert trial["score"] < 12 * x or x == 0
        assert trial["ended_early"].startswith("asha: at step")
        assert trial["is_params_saved"]
        messages = world.client.get_trial_logs(trial["id"])["messages"]
        assert any("ends early" in m["message"] for m in messages)
    best = max(trials, key=lambda t: t["score"])
    assert best["ended_early"] is None


def test_no_trial_ends_early_where_the_job_says_so(world: World) -> None:
    trials = world.run("to-the-end", {"scheme": "asha", "early_ending": "none"}, 6, n_epochs=4)
    assert [t["ended_early"] for t in trials] == [None] * 6


def test_first_knobs_are_tried_first_and_completed(world: World) -> None:
    first = [{"x": 0.125, "low": 2, "high": 7}, {"x": 0.75}]
    trials = world.run("first", {"first_knobs": first}, 4, n_workers=1)
    tried = [t["proposal"]["knobs"] for t in trials]
    assert {k: tried[0][k] for k in first[0]} == first[0]
    assert tried[1]["x"] == 0.75
    assert tried[1]["low"] <= tried[1]["high"]
    assert [t["proposal"]["phase"] for t in trials[:2]] == ["first", "first"]


def test_a_warm_start_learns_from_the_apps_earlier_jobs(world: World) -> None:
    cold = world.run("warm", {"scheme": "bayes"}, 10, n_workers=1)
    warm = world.run("warm", {"scheme": "bayes", "warm_start": True}, 4, n_workers=1)
    assert [t["no"] for t in warm] == [1, 2, 3, 4]
    best = max(t["score"] for t in cold)
    assert max(t["score"] for t in warm) >= best - 0.05
    # A cold search would spread its first trials over the space; none of these is of that kind.
    assert {t["proposal"]["phase"] for t in warm} == {"search"}


@pytest.mark.parametrize("scheme", ["bayes", "tpe", "cmaes", "pbt", "asha"])
def test_a_search_survives_its_killed_advisor(world: World, scheme: str) -> None:
    app = f"killed-{scheme}"
    world.start(app, {"scheme": scheme}, 16, n_epochs=3, epoch_s=0.05)
    for at in (3, 8):
        eventually(lambda at=at: len(world.client.get_trials_of_train_job(app)) >= at, "some trials")
        world.stack.kill_one("advisor")
    trials = world.finish(app)
    assert [t["no"] for t in trials] == list(range(1, 17))
    assert {t["status"] for t in trials} == {"COMPLETED"}
    if scheme != "pbt":
        assert len({tuple(sorted(t["proposal"]["knobs"].items())) for t in trials}) == 16


def test_architectures_are_searched_by_two_workers_and_the_best_is_trained_in_full(world: World) -> None:
    made = world.client.create_model("cells", TASK, MODELS / "cells.py", "Cells")
    assert made["load_error"] is None
    budget = {"MODEL_TRIAL_COUNT": 120, "CPU_WORKER_COUNT": 2, "TIME_HOURS": 0.2}
    data = (world.dataset_id, world.dataset_id)
    world.client.create_train_job("cells", TASK, *data, budget, [made["id"]])
    eventually(lambda: len(world.client.get_trials_of_train_job("cells")) >= 20, "some trials")
    world.stack.kill_one("advisor")
    trials = world.finish("cells")
    assert [t["no"] for t in trials] == list(range(1, 121))
    assert {t["status"] for t in trials} == {"COMPLETED"}
    assert {t["proposal"]["scheme"] for t in trials} == {"enas"}
    by_phase: dict[str, list[dict[str, Any]]] = {}
    for trial in trials:
        by_phase.setdefault(trial["proposal"]["phase"], []).append(trial)
    assert set(by_phase) == {"train", "search", "final", "full"}
    policies = {
        phase: {name for name, value in found[0]["proposal"]["knobs"].items() if value is True}
        for phase, found in by_phase.items()
    }
    assert "skip_train" not in policies["train"] | policies["full"]
    assert {"skip_train", "quick_eval", "share_params"} <= policies["search"]
    assert "share_params" not in policies["full"]
    assert len(by_phase["search"]) >= 20
    assert {t["is_params_saved"] for t in by_phase["search"] + by_phase["final"]} == {False}
    best = world.client.get_best_trials_of_train_job("cells", max_count=1)[0]
    assert best["proposal"]["phase"] in ("train", "full")
    # A search trial does not train: what its score has of training was handed on.
    scores = [t["score"] - 0.5 * t["proposal"]["knobs"]["cell"].count("a") / 4 for t in by_phase["search"]]
    assert max(scores) > 0


@pytest.mark.parametrize(
    ("advisor", "says"),
    [
        ("bayess", "Did you mean 'bayes'?"),
        (3, "not a int"),
        ({"scheme": "fixed"}, "leave a choice"),
        ({"scheme": "enas"}, "enas"),
        ({"shceme": "bayes"}, "unknown field 'shceme'. Did you mean 'scheme'?"),
        ({"scheme": "grid", "options": {"point": 3}}, "no option 'point'. Did you mean 'points'?"),
        ({"scheme": "grid", "options": {"points": "x"}}, "points"),
        ({"scheme": "asha", "options": {"eta": 1}}, "eta"),
        ({"early_ending": "sometimes"}, "rule"),
        ({"early_ending": {"rul": "asha"}}, "unknown field 'rul'"),
        ({"first_knobs": [{"x": 0.5}, {"x": 2.0}]}, "first_knobs, entry 2: Knob 'x'"),
        ({"first_knobs": [{"y": 2.0}]}, "Unknown knob(s) y"),
        ({"first_knobs": [{"low": 5, "high": 2}]}, "low <= high"),
        ({"warm_start": "yes"}, "warm_start"),
    ],
)
def test_a_wrong_advisor_setting_is_refused_with_its_place(world: World, advisor: Any, says: str) -> None:
    with pytest.raises(InvalidTrainJobError) as refusal:
        world.start("refused", advisor)
    assert says in refusal.value.message
    with pytest.raises(InvalidTrainJobError, match="no train job"):
        world.client.get_train_job("refused")
