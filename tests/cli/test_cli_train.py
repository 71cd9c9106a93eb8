from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.errors import InvalidTrainJobError

DATASETS = [
    {"id": "aaaa1111", "name": "digits_train", "task": "IMAGE_CLASSIFICATION"},
    {"id": "aaaa2222", "name": "digits_val", "task": "IMAGE_CLASSIFICATION"},
]
MODELS = [
    {"id": "m-public", "user_id": "other", "name": "SkSvm", "task": "IMAGE_CLASSIFICATION"},
    {"id": "m-own", "user_id": "u1", "name": "SkSvm", "task": "IMAGE_CLASSIFICATION"},
]


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
    assert sent.budget == {"MODEL_TRIAL_COUNT": 5, "CPU_WORKER_COUNT": 2}
    assert sent.train_args == {"epochs": 3, "mode": "fast"}


def test_options_go_over_the_job_file(logged_in, server: ContractServer, folder: Path) -> None:
    spec = {
        "app": "digits",
        "train_dataset_id": "digits_train",
        "val_dataset_id": "digits_val",
        "budget": {"MODEL_TRIAL_COUNT": 5, "TIME_HOURS": 1},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(spec))
    assert logged_in("train", "create", "-f", "job.yaml", "--trials", "9").code == 0
    assert _sent(server).budget == {"MODEL_TRIAL_COUNT": 9, "TIME_HOURS": 1}
    assert _sent(server).model_ids is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("app: a\ntrain_dataset: x\n", "line 2: unknown key 'train_dataset'. Did you mean 'train_dataset_id'?"),
        ("app: a\nbudget:\n  MODEL_TRIALS: 1\n", "line 3: unknown budget option 'MODEL_TRIALS'. Did you mean"),
        ("budget: {TIME_HOURS: long}\n", "line 1: budget.TIME_HOURS must be a number, not 'long'"),
        ("app: [a]\n", "line 1: app must be a text, not ['a']"),
        ("app: a\nmodel_ids: [1]\n", "line 2: model_ids must be a list of ids or names"),
        ("app: a\n  x: b\n", "line 2: this is not valid YAML"),
        ("- app\n", "a job file holds keys"),
        ("app: a\n", "Missing: --train, --val. Give them as options"),
        ("app: a\ntrain_dataset_id: x\n", "Missing: --val. Give it as an option"),
        ("app: a\ntask: T\napp: b\n", "line 3: app stands here a second time (first in line 1)"),
        ("budget:\n  GPU_COUNT: 1\n  GPU_COUNT: 0\n", "line 3: budget.GPU_COUNT stands here a second time"),
        ("train_args: {a: [{b: 1, b: 2}]}\n", "line 1: train_args.a.b stands here a second time"),
        ("budget: {TIME_HOURS: .inf}\n", "line 1: budget.TIME_HOURS must be a number, not inf"),
        ("budget: {TIME_HOURS: .nan}\n", "line 1: budget.TIME_HOURS must be a number, not nan"),
    ],
)  # fmt: skip
def test_a_wrong_job_file_is_a_usage_error_that_says_where(logged_in, folder: Path, text: str, message: str) -> None:
    (folder / "job.yaml").write_text(text)
    result = logged_in("train", "create", "-f", "job.yaml")
    assert result.code == ExitCode.USAGE
    assert "job.yaml" in result.err or "-f" in result.err
    assert message in result.err
    assert result.out == ""


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
    ("status", "trial_status", "code"),
    [
        ("STOPPED", "COMPLETED", ExitCode.OK),
        ("STOPPED", "ERRORED", ExitCode.NO_RESULT),
        ("ERRORED", "COMPLETED", ExitCode.JOB_ERRORED),
    ],
)
def test_watching_a_job_ends_with_a_code_that_tells_how_it_ended(
    logged_in, server: ContractServer, job: dict[str, Any], trial: dict[str, Any],
    status: str, trial_status: str, code: ExitCode,
) -> None:  # fmt: skip
    job |= {"status": status, "error": "the advisor died"}
    trial |= {"status": trial_status, "error": "ValueError: no"}
    server.answers |= {"get_train_job": job, "get_trials_of_train_job": [trial]}
    result = logged_in("train", "watch", "digits")
    assert result.code == code
    assert result.out.startswith(f"SkSvm#1 {trial_status}")
    assert f"digits v1 {status}" in result.out


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


JOB = "app: a\ntrain_dataset_id: digits_train\nval_dataset_id: digits_val\n"


def test_how_to_search_is_said_by_options_and_in_the_job_file(logged_in, server, folder) -> None:
    (folder / "job.yaml").write_text(f"{JOB}advisor:\n  scheme: grid\n  options: {{points: 3}}\n")
    sent = lambda: [c.request.advisor for c in server.calls if c.name == "create_train_job"][-1]  # noqa: E731
    assert logged_in("train", "create", "-f", "job.yaml").code == 0
    assert sent() == {"scheme": "grid", "options": {"points": 3}}
    arguments = ["--advisor", "asha", "--option", "eta=4", "--option", "search=random", "--try", '{"x": 1}']
    more = ["--early-ending", "median", "--warm-start"]
    assert logged_in("train", "create", "-f", "job.yaml", *arguments, *more).code == 0
    assert sent() == {
        "scheme": "asha", "options": {"eta": 4, "search": "random"}, "first_knobs": [{"x": 1}],
        "early_ending": "median", "warm_start": True,
    }  # fmt: skip
    (folder / "short.yaml").write_text(f"{JOB}advisor: tpe\n")
    assert logged_in("train", "create", "-f", "short.yaml").code == 0
    assert sent() == {"scheme": "tpe"}


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
