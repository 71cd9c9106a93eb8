from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.http.complete_answers import record, records
from support.http.contract_server import ContractServer

from rafiki.analysis.comparison import ComparedJob, JobSummary, compare, describe
from rafiki.constants import ExitCode
from rafiki.contract.train_jobs import TrainJobView, TrialView
from rafiki.errors import InvalidTrainJobError
from rafiki_cli.commands.train_compare import parse_target
from rafiki_cli.render.comparison import comparison_lines
from rafiki_cli.render.look import Look

SNAPSHOTS = Path(__file__).parent / "snapshots"
NAMES = {"d1": "digits_train", "d2": "digits_val", "d3": "letters_val"}


def _trial(no: int, score: float | None, knobs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": f"t{no}", "no": no, "model_name": "SkSvm", "status": "COMPLETED", "score": score, "error": None,
        "proposal": {"knobs": knobs}, "ended_early": None, "is_params_saved": True,
        "datetime_started": f"2025-01-01T10:00:{no * 4 - 4:02d}Z",
        "datetime_stopped": f"2025-01-01T10:00:{no * 4:02d}Z", **more,
    }  # fmt: skip


def _job(job: dict[str, Any], version: int, **more: Any) -> dict[str, Any]:
    return {
        **job,
        "app_version": version,
        "advisor": {"scheme": "random"},
        "datetime_stopped": "2025-01-01T10:00:20Z",
        **more,
    }


FIRST = [
    _trial(1, 0.5, {"C": 1.0, "kernel": "rbf"}),
    _trial(2, 0.6, {"C": 2.0, "kernel": "rbf"}),
    _trial(3, None, {"C": 3.0, "kernel": "rbf"}, status="ERRORED", error="ValueError: no"),
    _trial(4, 0.8, {"C": 4.0, "kernel": "rbf"}),
]
SECOND = [
    _trial(1, 0.9, {"C": 8.0, "kernel": "rbf", "gamma": 0.5}),
    _trial(2, 0.4, {"C": 9.0, "kernel": "rbf", "gamma": 0.1}, ended_early="far below the median"),
    _trial(3, None, {"C": 9.0, "kernel": "rbf", "gamma": 0.1}, status="RUNNING", datetime_stopped=None),
]


def _described(job: dict[str, Any], trials: list[dict[str, Any]]) -> JobSummary:
    return describe(record(job, TrainJobView), records(trials, TrialView), NAMES)


@pytest.fixture
def jobs(job: dict[str, Any]) -> list[ComparedJob]:
    second = _job(job, 2, advisor={"scheme": "tpe"}, status="RUNNING", budget={"MODEL_TRIAL_COUNT": 9})
    return compare([_described(_job(job, 1), FIRST), _described(second, SECOND)])


@pytest.fixture
def server(server: ContractServer, job: dict[str, Any]) -> ContractServer:
    made = {
        ("digits", 1): (_job(job, 1), FIRST),
        ("digits", 2): (_job(job, 2, advisor={"scheme": "tpe"}), SECOND),
        ("letters", 1): (_job(job, 1, app="letters", val_dataset_id="d3", status="RUNNING"), []),
    }

    def find(request: Any) -> Any:
        latest = max(v for a, v in made if a == request.app)
        return made.get((request.app, latest if request.app_version == -1 else request.app_version))

    def get_job(request: Any) -> Any:
        if found := find(request):
            return found[0]
        raise InvalidTrainJobError(f"There is no version {request.app_version} of {request.app!r}.")

    server.answers |= {
        "get_train_job": get_job,
        "get_trials_of_train_job": lambda request: find(request)[1],
        "get_datasets": [{"id": i, "name": n} for i, n in NAMES.items()],
    }
    return server


@pytest.mark.parametrize("width", [64, 80, 200])
def test_jobs_stand_side_by_side_with_marks_and_deltas(jobs: list[ComparedJob], width: int) -> None:
    lines = comparison_lines(jobs, width, Look())
    assert lines == (SNAPSHOTS / f"compare_{width}.txt").read_text("utf-8").splitlines()


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_any_number_of_jobs_fits_any_width_and_the_first_leads_each_block(
    job: dict[str, Any], width: int, count: int
) -> None:
    many = compare([_described(_job(job, v), FIRST) for v in range(1, count + 1)])
    lines = comparison_lines(many, width, Look())
    assert max(map(len, lines[:-1])) <= width
    heads = [line.split() for line in lines if "digits@" in line]
    assert all(head[0] == "digits@1" for head in heads)
    assert [name for head in heads for name in head[1:]] == [f"digits@{v}" for v in range(2, count + 1)]
    if width == 200:
        assert len(heads) == 1


def test_the_curves_share_one_scale_of_scores_and_of_trials(job: dict[str, Any]) -> None:
    low = [_trial(i, 0.1, {}) for i in range(1, 3)]
    high = [_trial(i, 0.9, {}) for i in range(1, 5)]
    many = compare([_described(_job(job, 1), low), _described(_job(job, 2), high)])
    curve = next(line for line in comparison_lines(many, 80, Look()) if line.startswith("  best so far")).split()[3:]
    assert set(curve[0]) == {"▁"}
    assert set(curve[1]) == {"█"}
    assert len(curve[0]) == round(len(curve[1]) / 2)


def test_without_utf8_the_comparison_is_plain(jobs: list[ComparedJob]) -> None:
    text = "\n".join(comparison_lines(jobs, 60, Look(is_ascii=True)))
    assert text.isascii()
    assert "* advisor" in text


def test_colours_tell_better_from_worse(jobs: list[ComparedJob]) -> None:
    text = "\n".join(comparison_lines(jobs, 80, Look(is_colored=True)))
    assert "\x1b[32m0.9000 (+0.1000)" in text
    worse = "\n".join(comparison_lines(compare(jobs[::-1]), 80, Look(is_colored=True)))
    assert "\x1b[31m0.8000 (-0.1000)" in worse


def test_into_a_pipe_nothing_is_cut(logged_in, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    result = logged_in("train", "compare", "digits@1", "digits@2")
    assert result.code == 0, result.err
    assert "2 completed, 1 early, 1 running" in result.out
    assert "…" not in result.out


@pytest.mark.parametrize("form", ["json", "yaml", "jsonl"])
def test_structured_output_is_a_list_of_jobs_with_deltas_and_what_differs(logged_in, form: str) -> None:
    out = logged_in("train", "compare", "digits@1", "digits", "-o", form).out
    load = {"json": json.loads, "yaml": yaml.safe_load, "jsonl": lambda t: [json.loads(x) for x in t.splitlines()]}
    first, second = load[form](out)
    assert first["differs"] == []
    assert first["trials"] == {"completed": 3, "ended_early": 0, "failed": 1, "running": 0}
    assert first["best"]["knobs"] == {"C": 4.0, "kernel": "rbf"}
    assert first["best_so_far"] == [0.5, 0.6, 0.8]
    assert second["app_version"] == 2
    assert second["differs"] == ["advisor", "knobs.C", "knobs.gamma"]
    assert second["delta"]["score"] == pytest.approx(0.1)
    assert second["delta"]["time_to_best_s"] == -12.0
    assert second["train_dataset"] == {"id": "d1", "name": "digits_train"}


def test_a_job_without_a_score_has_no_deltas_and_other_validation_data_is_warned_of(logged_in) -> None:
    result = logged_in("train", "compare", "digits@1", "letters")
    assert result.code == 0, result.err
    assert "letters@1: scored on other validation data than digits@1" in result.err
    assert "Still going on: letters@1." in result.err
    score = next(line for line in result.out.splitlines() if line.startswith("  best score"))
    assert score.split() == ["best", "score", "0.8000", "-"]
    assert any(line.startswith("≠ val ") for line in result.out.splitlines())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["digits@1"], ExitCode.USAGE, "Name two train jobs or more"),
        (["digits@2", "digits"], ExitCode.USAGE, "digits@2 is named twice"),
        (["digits@x", "digits"], ExitCode.USAGE, "'digits@x': write an app and its version"),
        (["digits@0", "digits"], ExitCode.USAGE, "'digits@0': write an app and its version"),
        (["digits@1", "digits@9"], ExitCode.REFUSED, "no version 9"),
    ],
)
def test_jobs_that_are_not_there_are_told(logged_in, words: list[str], code: ExitCode, message: str) -> None:
    result = logged_in("train", "compare", *words)
    assert (result.code, result.out) == (code, "")
    assert message in result.err


def test_an_app_is_named_with_or_without_a_version() -> None:
    assert parse_target("digits") == ("digits", -1)
    assert parse_target("digits@12") == ("digits", 12)
    assert parse_target("a@b@3") == ("a@b", 3)
