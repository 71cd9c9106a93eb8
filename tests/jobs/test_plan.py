"""What a job's plan decides, from plain values: nothing is asked, nothing is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.http.complete_answers import record, records

from rafiki.constants import RolloutKind
from rafiki.contract.datasets import DatasetView
from rafiki.contract.inference_jobs import InferenceJobView
from rafiki.contract.models import ModelView
from rafiki.contract.train_jobs import TrainJobView
from rafiki.errors import RafikiError
from rafiki_cli.jobs.load import LoadedJob, load_jobs
from rafiki_cli.jobs.observe import Observed, WantedDataset, WantedModel
from rafiki_cli.jobs.plan import (
    PARTS_LABEL,
    SPEC_LABEL,
    Plan,
    Verb,
    deploy_hash,
    deploy_of,
    make_plan,
    rollout_of,
    train_hash,
    train_parts,
)
from rafiki_cli.jobs.spec import DatasetSource

TEXT = """\
app: demo
task: CUSTOM
datasets: {train: train.zip, val: val.zip}
models: [{file: model.py}]
budget: {trials: 3}
"""


def loaded(folder: Path, *settings: str) -> LoadedJob:
    (folder / "job.yaml").write_text(TEXT)
    (folder / "train.zip").write_text("t")
    (folder / "val.zip").write_text("v")
    (folder / "model.py").write_text("from rafiki.model import BaseModel\nclass Model(BaseModel): pass\n")
    return load_jobs(folder / "job.yaml", {}, settings)[0]


@pytest.fixture
def job(tmp_path: Path) -> LoadedJob:
    return loaded(tmp_path)


def observed(
    job: LoadedJob,
    *,
    found: bool = True,
    train_jobs: list[dict[str, Any]] | None = None,
    inference_jobs: list[dict[str, Any]] | None = None,
    has_result: bool = True,
) -> Observed:
    datasets = [
        WantedDataset(
            part=part, source=getattr(job, part), file=job.folder / f"{part}.zip", sha256=f"sha-{part}", size_bytes=1,
            upload_name=part,
            found=record({"id": part, "name": part, "sha256": f"sha-{part}"}, DatasetView) if found else None,
        )
        for part in ("train", "val")
    ]  # fmt: skip
    models = [
        WantedModel(
            source=m, file=job.folder / "model.py", content="content", upload_name="Model",
            found=record({"id": "m", "name": "Model"}, ModelView) if found else None,
        )
        for m in job.models
    ]  # fmt: skip
    return Observed(
        task="CUSTOM",
        datasets=datasets,
        models=models,
        train_jobs=records(train_jobs or [], TrainJobView),
        has_result=has_result,
        inference_jobs=records(inference_jobs or [], InferenceJobView),
    )


def train_job(job: LoadedJob, *, status: str = "STOPPED", is_same: bool = True, version: int = 1) -> dict[str, Any]:
    label = train_hash(job, observed(job)) if is_same else "of another spec"
    labels = {SPEC_LABEL: label, PARTS_LABEL: train_parts(job, observed(job)) if is_same else ""}
    return {"id": f"j{version}", "app_version": version, "status": status, "labels": labels}


def serving(job: LoadedJob, *, is_same: bool = True, version: int = 1) -> dict[str, Any]:
    label = deploy_hash(job.spec, f"j{version}") if is_same else "of another spec"
    return {
        "train_job_id": f"j{version}", "app_version": version, "status": "RUNNING", "labels": {SPEC_LABEL: label},
        "predictor_host": "127.0.0.1:5000",
    }  # fmt: skip


def verbs(plan: Plan) -> list[str]:
    return [str(step.verb) for step in plan.steps]


def test_the_first_run_makes_everything(job: LoadedJob) -> None:
    plan = make_plan(job, observed(job, found=False))
    assert verbs(plan) == ["upload", "upload", "upload", "create", "create"]
    assert plan.step("train").name == "demo v1"
    assert not plan.is_nothing_to_do


def test_nothing_is_done_when_nothing_has_changed(job: LoadedJob) -> None:
    plan = make_plan(job, observed(job, train_jobs=[train_job(job)], inference_jobs=[serving(job)]))
    assert set(verbs(plan)) == {"reuse"}
    assert plan.is_nothing_to_do
    assert plan.train_job is not None


def test_training_again_can_be_asked_for(job: LoadedJob) -> None:
    plan = make_plan(job, observed(job, train_jobs=[train_job(job)], inference_jobs=[serving(job)]), must_retrain=True)
    assert plan.step("train").verb is Verb.CREATE
    assert plan.step("deploy").verb is Verb.REPLACE
    assert plan.train_job is None


def test_a_changed_spec_makes_a_new_version_that_takes_the_old_ones_place(job: LoadedJob) -> None:
    old = [train_job(job, is_same=False, version=4)]
    plan = make_plan(job, observed(job, train_jobs=old, inference_jobs=[serving(job, version=4)]))
    assert (plan.step("train").verb, plan.step("train").name) == (Verb.CREATE, "demo v5")
    assert "changed since v4" in plan.step("train").reason
    assert plan.step("deploy").verb is Verb.REPLACE


@pytest.mark.parametrize("status", ["STARTED", "RUNNING"])
def test_a_training_that_runs_as_asked_for_is_followed(job: LoadedJob, status: str) -> None:
    plan = make_plan(job, observed(job, train_jobs=[train_job(job, status=status)]))
    assert plan.step("train").verb is Verb.FOLLOW
    assert plan.conflict is None


def test_a_training_that_runs_otherwise_is_in_the_way(job: LoadedJob) -> None:
    plan = make_plan(job, observed(job, train_jobs=[train_job(job, status="RUNNING", is_same=False)]))
    assert plan.conflict is not None
    assert "rafiki train stop demo" in plan.conflict


def test_what_ended_errored_is_tried_again(job: LoadedJob) -> None:
    plan = make_plan(job, observed(job, train_jobs=[train_job(job, status="ERRORED")]))
    assert plan.step("train").verb is Verb.CREATE
    assert "ended ERRORED" in plan.step("train").reason


def test_what_was_stopped_before_a_trial_was_done_is_tried_again(job: LoadedJob) -> None:
    plan = make_plan(job, observed(job, train_jobs=[train_job(job)], has_result=False))
    assert plan.step("train").verb is Verb.CREATE
    assert "without one completed trial" in plan.step("train").reason


def test_what_was_stopped_by_hand_is_not_done(job: LoadedJob) -> None:
    stopped = {**train_job(job), "datetime_stop_requested": "2026-01-01T00:00:00Z"}
    plan = make_plan(job, observed(job, train_jobs=[stopped]))
    assert plan.step("train").verb is Verb.CREATE
    assert "stopped before its budget was used" in plan.step("train").reason


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["budget.trials=9"], "budget has changed since v1"),
        (["train_args.epochs=2"], "train_args have changed since v1"),
        (["budget.trials=9", "advisor=tpe"], "budget and advisor have changed since v1"),
    ],
)
def test_a_plan_tells_what_has_changed(job: LoadedJob, tmp_path: Path, settings: list[str], says: str) -> None:
    before = train_job(job)
    other = loaded(tmp_path, *settings)
    assert says in make_plan(other, observed(other, train_jobs=[before])).step("train").reason


def test_an_app_that_is_served_otherwise_is_served_anew_without_training(job: LoadedJob) -> None:
    there = observed(job, train_jobs=[train_job(job)], inference_jobs=[serving(job, is_same=False)])
    plan = make_plan(job, there)
    assert (plan.step("train").verb, plan.step("deploy").verb) == (Verb.REUSE, Verb.REPLACE)


def test_what_serves_as_asked_for_beside_older_versions_takes_their_place(job: LoadedJob) -> None:
    both = [serving(job, version=2), serving(job, version=1)]
    plan = make_plan(job, observed(job, train_jobs=[train_job(job, version=2)], inference_jobs=both))
    assert plan.step("train").verb is Verb.REUSE
    assert plan.step("deploy").verb is Verb.REPLACE
    assert "v1 will be stopped" in plan.step("deploy").reason
    assert not plan.is_nothing_to_do


def test_what_is_starting_is_waited_for(job: LoadedJob) -> None:
    starting = {**serving(job), "status": "STARTED", "predictor_host": None}
    plan = make_plan(job, observed(job, train_jobs=[train_job(job)], inference_jobs=[starting]))
    assert plan.step("deploy").verb is Verb.FOLLOW
    assert "None" not in plan.step("deploy").reason
    assert not plan.is_nothing_to_do


def test_serving_is_left_alone_when_it_is_not_asked_for(job: LoadedJob, tmp_path: Path) -> None:
    assert make_plan(job, observed(job), may_deploy=False).step("deploy").verb is Verb.SKIP
    other = loaded(tmp_path, "deploy=false")
    assert make_plan(other, observed(other)).step("deploy").verb is Verb.SKIP


@pytest.mark.parametrize(
    "setting",
    [
        "budget.trials=4",
        "budget.hours=1",
        "advisor=random",
        "advisor.options.eta=2",
        "train_args.epochs=1",
        "budget.workers=2",
        "budget.workers_per_gpu=2",
    ],
)
def test_whatever_bears_on_training_makes_it_another_one(job: LoadedJob, tmp_path: Path, setting: str) -> None:
    before = train_hash(job, observed(job))
    other = loaded(tmp_path, setting)
    assert train_hash(other, observed(other)) != before


@pytest.mark.parametrize("setting", ["deploy.replicas=2", "ensemble=greedy", "gates.min_score=0.5", "app=other"])
def test_what_does_not_bear_on_training_leaves_it(job: LoadedJob, tmp_path: Path, setting: str) -> None:
    before = train_hash(job, observed(job))
    other = loaded(tmp_path, setting)
    assert train_hash(other, observed(other)) == before


def test_a_default_that_is_written_out_changes_nothing(job: LoadedJob, tmp_path: Path) -> None:
    other = loaded(
        tmp_path, "budget.hours=0.1", "advisor={scheme: auto}", "deploy.replicas=1", "budget.workers_per_gpu=1"
    )
    assert train_hash(other, observed(other)) == train_hash(job, observed(job))
    assert deploy_hash(other.spec, "j1") == deploy_hash(job.spec, "j1")


def test_a_job_that_an_earlier_version_made_is_found_again(tmp_path: Path) -> None:
    """The labels of jobs outlive versions: another form of the hash would train everything again."""
    plain = loaded(tmp_path)
    assert train_hash(plain, observed(plain)) == "eccf922f1fd4ea893c77d8238784c3a8b50ebabf4976c6cfeff664c91f3034a5"
    assert deploy_hash(plain.spec, "j1") == "41b0a721671ba2cc0d92e7f89cbe2e680a8f057ef9d11ef8adee5159174631d7"
    settings = ["advisor={scheme: asha, options: {eta: 4}, try: [{x: 1}], early_ending: median, warm_start: true}",
                "ensemble={method: greedy, size: 3}", "deploy={replicas: 2, latency_budget_ms: 50}"]  # fmt: skip
    full = loaded(tmp_path, *settings)
    assert train_hash(full, observed(full)) == "08f9062954e52c7bd7dd3ca671d6272f5f71edf35be540c67d5cdf4234f5f8ed"
    assert deploy_hash(full.spec, "j1") == "8873127fe755f30317a19889768832e334d694e6dc6e7f2ac987ffc9d4d26b2d"


def test_one_file_for_both_parts_is_uploaded_once(job: LoadedJob) -> None:
    import msgspec

    there = observed(job, found=False)
    same = [msgspec.structs.replace(d, sha256="same") for d in there.datasets]
    plan = make_plan(job, msgspec.structs.replace(there, datasets=same))
    assert verbs(plan)[:2] == ["upload", "reuse"]


def test_what_an_address_holds_is_not_known_before_it_is_fetched(job: LoadedJob) -> None:
    import msgspec

    there = observed(job, train_jobs=[train_job(job)])
    url = DatasetSource(url="https://me:secret@example.org/train.zip?token=secret")
    fetched = msgspec.structs.replace(there.datasets[0], source=url, file=None, sha256=None, found=None)
    plan = make_plan(job, msgspec.structs.replace(there, datasets=[fetched, there.datasets[1]]))
    assert (plan.steps[0].verb, plan.step("train").verb) == (Verb.FETCH, Verb.CREATE)
    assert "secret" not in plan.steps[0].reason


def with_model(job: LoadedJob, **fields: Any) -> Observed:
    """What is observed when the job's model has these fields."""
    seen = observed(job)
    return msgspec.structs.replace(seen, models=[msgspec.structs.replace(seen.models[0], **fields)])


def model_row(version: int, **fields: Any) -> ModelView:
    return record({"id": f"m{version}", "name": "Model", "version": version, **fields}, ModelView)


@pytest.mark.parametrize(
    ("fields", "name", "verb", "reason"),
    [
        ({"found": None}, "Model", Verb.UPLOAD, "model.py"),
        ({"found": model_row(2), "newest": model_row(2)}, "Model@2", Verb.REUSE, "on the server"),
        (
            {"found": model_row(1), "newest": model_row(2)},
            "Model@1", Verb.REUSE, "on the server; Model@2 is another one",
        ),
        (
            {"found": None, "newest": model_row(2), "changes": ["dependencies"]},
            "Model", Verb.UPLOAD, "as version 3, because its dependencies changed",
        ),
        (
            {"found": None, "newest": model_row(2), "changes": ["file", "class", "access"]},
            "Model", Verb.UPLOAD, "as version 3, because its file, class and access changed",
        ),
        (
            {"found": None, "newest": model_row(2, load_error="no torch")},
            "Model@2", Verb.UPLOAD, "checked again, because it did not load",
        ),
        (
            {"found": record({"id": "o", "name": "Model-3f9c2a71"}, ModelView), "newest": model_row(1)},
            "Model", Verb.REUSE, "on the server as 'Model-3f9c2a71@1'",
        ),
    ],
)  # fmt: skip
def test_what_happens_to_a_model_names_its_version(
    job: LoadedJob, fields: dict[str, Any], name: str, verb: Verb, reason: str
) -> None:
    step = make_plan(job, with_model(job, **fields)).step("model")
    assert (step.name, step.verb, step.reason) == (name, verb, reason)


# ---- how a deployed app goes over to what is served


@pytest.mark.parametrize(
    ("settings", "kind", "share"),
    [
        ([], RolloutKind.REPLACE, 0.0),
        (["deploy.canary=10%"], RolloutKind.CANARY, 0.1),
        (["deploy.canary=0.25"], RolloutKind.CANARY, 0.25),
        (["deploy.shadow=true"], RolloutKind.SHADOW, 0.0),
    ],
)
def test_a_spec_says_how_a_deployed_app_goes_over(
    tmp_path: Path, settings: list[str], kind: RolloutKind, share: float
) -> None:
    deploy = deploy_of(loaded(tmp_path, *settings).spec)
    assert deploy is not None
    assert rollout_of(deploy)[:2] == (kind, pytest.approx(share))


def test_rules_of_a_rollback_travel(tmp_path: Path) -> None:
    job = loaded(tmp_path, "deploy.rollback.errors=1%", "deploy.rollback.latency_ms=50", "deploy.rollback.score=0.01")
    deploy = deploy_of(job.spec)
    assert deploy is not None
    rules = rollout_of(deploy)[2]
    assert (rules.errors, rules.latency_ms, rules.score, rules.min_requests) == (0.01, 50.0, 0.01, 50)


def test_how_an_app_goes_over_is_no_reason_to_serve_it_anew(job: LoadedJob, tmp_path: Path) -> None:
    before = deploy_hash(job.spec, "j1")
    tried = loaded(tmp_path, "deploy.canary=10%", "deploy.rollback.errors=1%").spec
    assert deploy_hash(tried, "j1") == before
    assert deploy_hash(loaded(tmp_path, "deploy.replicas=2").spec, "j1") != before


def test_what_is_being_tried_is_followed_and_nothing_is_stopped(job: LoadedJob) -> None:
    both = [{**serving(job, version=2), "role": "CANDIDATE"}, serving(job, version=1)]
    plan = make_plan(job, observed(job, train_jobs=[train_job(job, version=2)], inference_jobs=both))
    assert plan.step("deploy").verb is Verb.FOLLOW
    assert "stopped" not in plan.step("deploy").reason


@pytest.mark.parametrize(
    "settings",
    [
        ["deploy.canary=150%"], ["deploy.canary=ten"], ["deploy.canary=2"], ["deploy.canary=10%", "deploy.shadow=true"],
        ["deploy.rollback.errors=-1%"], ["deploy.rollback.disagreement=x"],
    ],
)  # fmt: skip
def test_shares_that_make_no_sense_are_refused_with_their_place(tmp_path: Path, settings: list[str]) -> None:
    with pytest.raises(RafikiError, match=r"deploy\.(canary|shadow|rollback)"):
        loaded(tmp_path, *settings)
