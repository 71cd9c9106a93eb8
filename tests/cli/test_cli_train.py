from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.http.contract_server import ContractServer

from rafiki.budget import TrainBudget
from rafiki.constants import ExitCode
from rafiki.errors import InvalidTrainJobError
from rafiki.search_setting import AdvisorSetting, EarlyEnding

NOW = "2025-01-01T10:00:00Z"
DATASETS = [
    {"id": id, "name": name, "task": "IMAGE_CLASSIFICATION", "datetime_created": NOW, "size_bytes": 9, "sha256": id}
    for id, name in (("aaaa1111", "digits_train"), ("aaaa2222", "digits_val"))
]
MODELS = [
    {
        "id": id, "user_id": user_id, "name": "SkSvm", "task": "IMAGE_CLASSIFICATION", "model_class": "SkSvm",
        "model_file_sha256": "f" * 64, "datetime_created": NOW, "dependencies": {}, "access_right": "PUBLIC",
        "docker_image": None, "knob_config": {}, "knob_constraints": [], "load_error": None,
    }
    for id, user_id in (("m-public", "other"), ("m-own", "u1"))
]  # fmt: skip


@pytest.fixture
def server(server: ContractServer, job: dict[str, Any], trial: dict[str, Any]) -> ContractServer:
    server.answers |= {
        "get_datasets": DATASETS,
        "get_available_models": MODELS,
        "create_train_job": {"id": "j1", "app": "digits", "app_version": 1},
        "get_train_job": job,
        "get_trials_of_train_job": [trial],
    }
    return server


def _sent(server: ContractServer) -> Any:
    return next(c.request for c in server.calls if c.name == "create_train_job")


def test_names_become_ids_and_the_task_is_that_of_the_dataset(logged_in, server: ContractServer) -> None:
    result = logged_in(
        "train", "create", "--app", "digits", "--train", "digits_train", "--val", "aaaa2", "--model", "SkSvm",
        "--trials", "5", "--workers", "2", "--arg", "epochs=3", "--arg", "mode=fast", "-o", "json",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert json.loads(result.out)["id"] == "j1"
    sent = _sent(server)
    assert (sent.task, sent.train_dataset_id, sent.val_dataset_id) == ("IMAGE_CLASSIFICATION", "aaaa1111", "aaaa2222")
    assert sent.model_ids == ["m-own"]
    assert sent.budget == TrainBudget(model_trial_count=5, cpu_worker_count=2)
    assert sent.train_args == {"epochs": 3, "mode": "fast"}


JOB = "app: digits\ndatasets: {train: digits_train, val: digits_val}\nmodels: [{name: SkSvm}]\n"


def _no_trials(server: ContractServer) -> None:
    """The app was never trained."""
    server.answers |= {"get_train_jobs_of_app": [], "get_inference_jobs_of_app": []}


def test_a_job_file_says_what_to_train_and_options_go_over_it(
    logged_in, server: ContractServer, folder: Path
) -> None:  # fmt: skip
    _no_trials(server)
    (folder / "job.yaml").write_text(f"{JOB}budget: {{trials: 5, hours: 1}}\ntrain_args: {{epochs: 1, size: 2}}\n")
    result = logged_in("train", "create", "-f", "job.yaml", "--trials", "9", "--arg", "epochs=3", "-o", "json")
    assert result.code == 0, result.err
    assert json.loads(result.out) == {"id": "j1", "app": "digits", "app_version": 1, "notes": []}
    sent = _sent(server)
    assert (sent.app, sent.task, sent.model_ids) == ("digits", "IMAGE_CLASSIFICATION", ["m-own"])
    assert (sent.train_dataset_id, sent.val_dataset_id) == ("aaaa1111", "aaaa2222")
    assert sent.budget == TrainBudget(model_trial_count=9, time_hours=1)
    assert sent.train_args == {"epochs": 3, "size": 2}


def test_every_option_goes_over_the_job_file(logged_in, server: ContractServer, folder: Path) -> None:
    _no_trials(server)
    (folder / "job.yaml").write_text(f"{JOB}advisor: tpe\nbudget: {{trials: 5}}\n")
    result = logged_in(
        "train", "create", "-f", "job.yaml", "--app", "other", "--train", "aaaa2", "--val", "digits_train",
        "--model", "m-public", "--hours", "2", "--gpus", "1", "--workers", "3", "--advisor", "asha", "--option",
        "eta=4", "--try", '{"x": 1}', "--early-ending", "median", "--warm-start", "--task", "IMAGE_CLASSIFICATION",
    )  # fmt: skip
    assert result.code == 0, result.err
    sent = _sent(server)
    assert (sent.app, sent.train_dataset_id, sent.val_dataset_id) == ("other", "aaaa2222", "aaaa1111")
    assert sent.model_ids == ["m-public"]
    assert sent.budget == TrainBudget(model_trial_count=5, time_hours=2, gpu_count=1, cpu_worker_count=3)
    assert sent.advisor == AdvisorSetting(
        scheme="asha", options={"eta": 4}, first_knobs=[{"x": 1}], early_ending=EarlyEnding(rule="median"),
        warm_start=True,
    )  # fmt: skip


def test_what_comes_after_the_training_is_left_out_and_told(logged_in, server: ContractServer, folder: Path) -> None:
    _no_trials(server)
    more = "budget: {trials: 2}\nensemble: greedy\ngates: {min_trials: 5, min_ensemble_score: 0.9}\ndeploy: false\n"
    (folder / "job.yaml").write_text(JOB + more)
    result = logged_in("train", "create", "-f", "job.yaml", "-o", "json")
    assert result.code == 0, result.err
    assert "Only training is started: `ensemble` and `gates` of job.yaml take effect with `rafiki run`." in result.err
    assert "create_inference_job" not in [c.name for c in server.calls]


def test_of_several_jobs_the_app_chooses_one(logged_in, server: ContractServer, folder: Path) -> None:
    _no_trials(server)
    one, two = (f"  - {json.dumps({**yaml.safe_load(JOB), 'app': app})}\n" for app in ("one", "two"))
    (folder / "jobs.yaml").write_text(f"jobs:\n{one}{two}")
    for arguments, message in (
        ((), "jobs.yaml, line 1, column 1: jobs: 2 jobs stand here, for one, two. Choose one with --app."),
        (("--app", "tow"), "jobs: no job here is of the app 'tow' (--app). Did you mean 'two'?"),
    ):
        result = logged_in("train", "create", "-f", "jobs.yaml", *arguments)
        assert result.code == ExitCode.USAGE
        assert message in result.err
    assert logged_in("train", "create", "-f", "jobs.yaml", "--app", "two", "--trials", "3").code == 0
    assert _sent(server).app == "two"


def test_a_job_that_is_training_is_not_started_again(logged_in, server: ContractServer, folder: Path, job) -> None:
    server.answers |= {"get_train_jobs_of_app": [{**job, "status": "RUNNING", "labels": {}}],
                       "get_inference_jobs_of_app": []}  # fmt: skip
    (folder / "job.yaml").write_text(JOB)
    result = logged_in("train", "create", "-f", "job.yaml")
    assert result.code == ExitCode.REFUSED
    assert "rafiki train stop digits" in result.err
    assert "create_train_job" not in [c.name for c in server.calls]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("app: a\ntrain_dataset: x\n", "line 2, column 1: train_dataset: unknown key."),
        ("app: a\ntrain_dataset_id: x\n", "train_dataset_id: unknown key. Write `datasets.train`."),
        ("app: a\nval_dataset_id: x\n", "val_dataset_id: unknown key. Write `datasets.val`."),
        ("app: a\nmodel_ids: [x]\n", "model_ids: unknown key. Write `models`, as in `models: [{name: MyModel}]`."),
        (f"{JOB}budget:\n  MODEL_TRIAL_COUNT: 1\n", "line 5, column 3: budget.MODEL_TRIAL_COUNT: unknown key. Write"),
        (f"{JOB}budget: {{TIME_HOURS: 1}}\n", "budget.TIME_HOURS: unknown key. Write `hours`."),
        (f"{JOB}advisor: {{first_knobs: []}}\n", "advisor.first_knobs: unknown key. Write `try`."),
        (f"{JOB}budget: {{hour: 1}}\n", "budget.hour: unknown key. Did you mean 'hours'?"),
        (f"{JOB}budget: {{hours: long}}\n", "line 4, column 10: budget.hours: must be a number, not 'long'"),
        ("app: [a]\n", "line 1, column 1: app: must be a text, not a list"),
        ("app: a\n  x: b\n", "line 2, column 4: this is not valid YAML"),
        ("- app\n", "a job spec is a mapping that begins with `app: NAME`"),
        ("app: a\ntask: T\napp: b\n", "line 3: app stands here a second time (first in line 1)"),
        ("train_args: {a: [{b: 1, b: 2}]}\n", "line 1: train_args.a.b stands here a second time"),
        ("app: a\n", "'datasets' is missing"),
        (f"{JOB}models: []\n", "models stands here a second time"),
    ],
)  # fmt: skip
def test_a_wrong_job_file_is_a_usage_error_that_says_where(logged_in, folder: Path, text: str, message: str) -> None:
    (folder / "job.yaml").write_text(text)
    result = logged_in("train", "create", "-f", "job.yaml")
    assert result.code == ExitCode.USAGE
    assert "job.yaml" in result.err
    assert message in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--trials", "0"), ExitCode.USAGE, "--trials: budget.trials: must be 1 or more, or -1"),
        (("--early-ending", "meidan"), ExitCode.USAGE, "advisor.early_ending: there is no stopping rule"),
        (("--train", "digit_train"), ExitCode.NOT_FOUND, "--train: datasets.train: There is no dataset 'digit_train'"),
        (("--val", "aaaa"), ExitCode.REFUSED, "--val: datasets.val: 'aaaa' begins the ids of 2 datasets"),
        (("--model", "SkSvn"), ExitCode.NOT_FOUND, "Did you mean 'SkSvm'?"),
    ],
)  # fmt: skip
def test_a_wrong_option_over_a_job_file_is_named(
    logged_in, server: ContractServer, folder: Path, arguments: tuple[str, ...], code: ExitCode, message: str
) -> None:
    _no_trials(server)
    (folder / "job.yaml").write_text(JOB)
    result = logged_in("train", "create", "-f", "job.yaml", *arguments)
    assert result.code == code
    assert message in result.err


def test_without_a_file_what_is_missing_is_told(logged_in) -> None:
    assert "Missing: --train, --val. Give them as options" in logged_in("train", "create", "--app", "a").err
    assert "Missing: --val. Give it as an option" in logged_in("train", "create", "--app", "a", "--train", "x").err


def test_an_unknown_dataset_is_answered_with_the_nearest_name(logged_in) -> None:
    result = logged_in("train", "create", "--app", "a", "--train", "digit_train", "--val", "digits_val")
    assert result.code == ExitCode.NOT_FOUND
    assert "Did you mean 'digits_train'?" in result.err


def test_an_ambiguous_beginning_of_an_id_is_refused(logged_in) -> None:
    result = logged_in("train", "create", "--app", "a", "--train", "aaaa", "--val", "digits_val")
    assert result.code == ExitCode.REFUSED
    assert "2 datasets" in result.err


def test_trials_are_put_out_as_a_table_that_is_not_cut(
    logged_in, server: ContractServer, trial: dict[str, Any]
) -> None:
    trial["proposal"] = {"knobs": {f"knob_{i}": "x" * 20 for i in range(20)}}
    server.answers["get_trials_of_train_job"] = [trial]
    result = logged_in("train", "trials", "digits")
    assert result.code == 0
    header, row = result.out.splitlines()
    assert header.split() == ["ID", "NO", "MODEL", "STATUS", "SCORE", "TIME", "KNOBS", "ERROR"]
    assert "knob_19=" + "x" * 20 in row
    assert "0.9000" in row
    assert "4.0s" in row


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_structured_output_holds_the_answer_as_it_came(logged_in, trial: dict[str, Any], form: str, load: Any) -> None:
    result = logged_in("train", "best", "digits", "-o", form)
    assert load(result.out) == [trial]


def test_json_lines_are_one_compact_line_for_each_row_of_a_list_and_one_for_a_record(
    logged_in, server: ContractServer, job: dict[str, Any], trial: dict[str, Any]
) -> None:
    trial["error"] = "first\nsecond é"
    server.answers["get_trials_of_train_job"] = [trial, trial]
    lines = logged_in("train", "trials", "digits", "-o", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == [trial, trial]
    assert "é" in lines[0]
    assert '": ' not in lines[0]
    (line,) = logged_in("train", "show", "digits", "-o", "jsonl").out.splitlines()
    assert json.loads(line) == job
    server.answers["get_trials_of_train_job"] = []
    assert logged_in("train", "trials", "digits", "-o", "jsonl").out == ""


def test_a_refusal_is_one_line_and_the_exit_code_of_its_class(logged_in, server: ContractServer) -> None:
    server.answers["get_train_job"] = InvalidTrainJobError("There is no train job of 'x'.")
    result = logged_in("train", "show", "x")
    assert result == (ExitCode.REFUSED, "", "error: There is no train job of 'x'.\n")


def test_what_the_admin_does_not_find_has_an_exit_code_of_its_own(logged_in, server: ContractServer) -> None:
    server.answers["get_train_job"] = InvalidTrainJobError.not_found("There is no train job of 'x'.")
    result = logged_in("train", "show", "x")
    assert result == (ExitCode.NOT_FOUND, "", "error: There is no train job of 'x'.\n")


@pytest.mark.parametrize(
    ("status", "trial_status", "code", "shown"),
    [
        ("STOPPED", "COMPLETED", ExitCode.OK, "COMPLETED"),
        ("STOPPED", "ERRORED", ExitCode.NO_RESULT, "COMPLETED"),
        ("ERRORED", "COMPLETED", ExitCode.JOB_ERRORED, "ERRORED"),
    ],
)
def test_watching_a_job_ends_with_a_code_that_tells_how_it_ended(
    logged_in, server: ContractServer, job: dict[str, Any], trial: dict[str, Any],
    status: str, trial_status: str, code: ExitCode, shown: str,
) -> None:  # fmt: skip
    job |= {"status": status, "error": "the advisor died"}
    trial |= {"status": trial_status, "error": "ValueError: no"}
    server.answers |= {"get_train_job": job, "get_trials_of_train_job": [trial]}
    result = logged_in("train", "watch", "digits")
    assert result.code == code
    assert result.out.startswith(f"SkSvm#1 {trial_status}")
    assert f"digits v1 {shown}:" in result.out


def test_a_job_that_somebody_stopped_is_shown_as_stopped_and_one_that_ended_by_itself_as_completed(
    logged_in, server: ContractServer, job: dict[str, Any]
) -> None:
    server.answers["get_trials_of_train_job"] = []
    stopped = {**job, "app": "other", "datetime_stop_requested": "2025-01-01T10:00:05Z", "outcome": "STOPPED"}
    server.answers["get_train_jobs_by_user"] = [job, stopped]
    lines = logged_in("train", "list").out.splitlines()
    assert [next(word for word in line.split() if word.isupper()) for line in lines[1:]] == ["COMPLETED", "STOPPED"]
    server.answers["get_train_job"] = job
    assert "SkSvm@1 COMPLETED, 0 trials" in logged_in("train", "show", "digits").out
    server.answers["get_train_job"] = stopped
    shown = logged_in("train", "show", "other").out
    assert re.search(r"SkSvm\S* STOPPED, 0 trials", shown)
    assert "COMPLETED" not in shown
    # Programs find the published word, and the other beside it.
    found = json.loads(logged_in("train", "show", "other", "-o", "json").out)
    assert (found["status"], found["outcome"]) == ("STOPPED", "STOPPED")
    server.answers["get_train_job"] = job
    found = json.loads(logged_in("train", "show", "digits", "-o", "json").out)
    assert (found["status"], found["outcome"]) == ("STOPPED", "COMPLETED")


def test_watching_tells_each_trial_once_while_the_job_goes_on(
    logged_in, server: ContractServer, job: dict[str, Any], trial: dict[str, Any]
) -> None:
    looks = 0

    def answer_job(_: Any) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        return {**job, "status": "RUNNING" if looks < 3 else "STOPPED"}

    server.answers["get_train_job"] = answer_job
    server.answers["get_trials_of_train_job"] = lambda _: [
        {**trial, "id": f"t{i}", "no": i} for i in range(1, looks + 1)
    ]
    result = logged_in("train", "watch", "digits")
    assert [line.split()[0] for line in result.out.splitlines()[:-1]] == ["SkSvm#1", "SkSvm#2", "SkSvm#3"]


def test_waiting_in_create_puts_out_nothing_but_json(logged_in, job: dict[str, Any]) -> None:
    result = logged_in(
        "train", "create", "--app", "digits", "--train", "digits_train", "--val", "digits_val", "--wait", "-o", "json"
    )
    assert result.code == 0
    assert json.loads(result.out) == job


def test_how_to_search_is_said_by_options_and_in_the_job_file(logged_in, server, folder) -> None:
    _no_trials(server)
    (folder / "job.yaml").write_text(f"{JOB}advisor:\n  scheme: grid\n  options: {{points: 3}}\n")
    sent = lambda: [c.request.advisor for c in server.calls if c.name == "create_train_job"][-1]  # noqa: E731
    assert logged_in("train", "create", "-f", "job.yaml").code == 0
    assert sent() == AdvisorSetting(scheme="grid", options={"points": 3})
    arguments = ["--advisor", "asha", "--option", "eta=4", "--option", "search=random", "--try", '{"x": 1}']
    more = ["--early-ending", "median", "--warm-start"]
    names = ["--app", "digits", "--train", "digits_train", "--val", "digits_val"]
    for where in (["-f", "job.yaml"], names):
        assert logged_in("train", "create", *where, *arguments, *more).code == 0
        assert sent() == AdvisorSetting(
            scheme="asha", options={"eta": 4, "search": "random"}, first_knobs=[{"x": 1}], warm_start=True,
            early_ending=EarlyEnding(rule="median"),
        )  # fmt: skip
    (folder / "short.yaml").write_text(f"{JOB}advisor: tpe\n")
    assert logged_in("train", "create", "-f", "short.yaml").code == 0
    assert sent() == AdvisorSetting(scheme="tpe")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--try", "x=1"], "--try x=1: this is not JSON"),
        (["--try", "[1]"], "write a JSON object of knobs"),
        (["--option", "eta"], "--option eta: write KEY=JSON"),
    ],
)
def test_a_wrong_search_option_is_told(logged_in, arguments: list[str], says: str) -> None:
    result = logged_in("train", "create", "--app", "a", "--train", "digits_train", "--val", "digits_val", *arguments)
    assert result.code == ExitCode.USAGE
    assert says in result.err
