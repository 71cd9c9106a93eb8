from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from support.http.contract_server import ContractServer

from rafiki.constants import EnsembleMethod, ExitCode
from rafiki.contract.inference_jobs import EnsembleSetting
from rafiki.predictor.bodies import BodyForm, read_body
from rafiki.tasks.query_arrays import read_array
from rafiki_cli.commands.predict import prediction_text


class Predictor:
    """What the server answers at /predict and tells at GET /, and the queries it got."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.extra: dict[str, Any] = {}
        self.absent: list[str] = []
        self.prediction: Any = "one"


@pytest.fixture
def predictor(server: ContractServer, monkeypatch: pytest.MonkeyPatch, trial: dict[str, Any]) -> Predictor:
    found = Predictor()
    plain = server.serve

    def serve(method: str, target: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        if target == "/" and method == "GET":
            return 200, json.dumps({"name": "rafiki predictor", "absent": found.absent}).encode()
        if target.partition("?")[0] != "/predict":
            return plain(method, target, headers, body)
        if body.startswith(b"{"):
            query = json.loads(body)
        else:
            form = BodyForm().told(target.partition("?")[2].encode(), [])
            asked = read_body(body, form, 1.0, most_queries=99, most_bytes=1 << 20)
            arrays = [read_array(q).tolist() for q in asked.queries]
            query = {"query": arrays[0]} if asked.is_one else {"queries": arrays}
        found.asked.append(query)
        answer = {"prediction": found.prediction, "predictions": ["many"] * len(query.get("queries", []))}
        return 200, json.dumps({**answer, **found.extra}).encode()

    monkeypatch.setattr(server, "serve", serve)
    server.answers["get_running_inference_job"] = {
        "id": "i1", "app": "digits", "app_version": 1, "status": "RUNNING", "error": None, "trial_ids": ["t1", "t2"],
        "weights": [0.75, 0.25], "ensemble": {
            "method": "greedy", "size": 3, "metric": "accuracy", "validation_score": 0.91, "best_single_score": 0.9,
            "member_scores": [0.9, 0.8], "n_examples": 2000, "note": None,
        },
        "predictor_host": f"127.0.0.1:{server.port}", "datetime_started": "2025-01-01T10:00:00Z",
    }  # fmt: skip
    server.answers["get_trials_of_train_job"] = [trial]
    server.answers["get_trial"] = trial
    return found


def test_predict_takes_json_a_file_an_image_and_batches(logged_in, folder: Path, predictor: Predictor) -> None:
    Image.new("L", (2, 1), 7).save(folder / "q.png")
    (folder / "q.json").write_text('{"x": 1}')
    (folder / "many.json").write_text("[1, 2]")
    for option, value, out in (
        ("--query", "[1, 2]", "one"),
        ("--query-file", "q.json", "one"),
        ("--query-file", "q.png", "one"),
        ("--queries-file", "many.json", ["many", "many"]),
    ):
        result = logged_in("predict", "digits", option, value)
        assert json.loads(result.out) == out
        assert result.err == ""
    grey = [7, 7, 7]
    assert predictor.asked == [{"query": [1, 2]}, {"query": {"x": 1}}, {"query": [[grey, grey]]}, {"queries": [1, 2]}]


def test_predict_takes_arrays_and_sends_them_as_they_are(logged_in, folder: Path, predictor: Predictor) -> None:
    np.save(folder / "q.npy", np.arange(6, dtype=np.uint8).reshape(2, 3))
    np.savez(folder / "q.npz", np.zeros(1), np.ones(2))
    assert json.loads(logged_in("predict", "digits", "--query-file", str(folder / "q.npy")).out) == "one"
    for name in ("q.npy", "q.npz"):
        done = logged_in("predict", "digits", "--queries-file", str(folder / name))
        assert json.loads(done.out) == ["many", "many"]
    assert predictor.asked == [
        {"query": [[0, 1, 2], [3, 4, 5]]}, {"queries": [[0, 1, 2], [3, 4, 5]]}, {"queries": [[0.0], [1.0, 1.0]]},
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["q.npy", "q.npz"])
def test_what_is_no_array_is_a_usage_error(logged_in, folder: Path, predictor: Predictor, name: str) -> None:
    (folder / name).write_text("[1]")
    for option in ("--query-file", "--queries-file") if name == "q.npy" else ("--queries-file",):
        done = logged_in("predict", "digits", option, str(folder / name))
        assert done.code == ExitCode.USAGE
        assert "cannot be read" in done.err
    assert not predictor.asked


def test_a_member_that_was_left_out_is_named_on_stderr_and_in_the_answer(logged_in, predictor: Predictor) -> None:
    predictor.extra = {"left_out": ["t1"]}
    result = logged_in("predict", "digits", "--query", "1")
    assert (result.code, json.loads(result.out)) == (0, "one")
    assert "warning: Without SkSvm#1 (trial t1)" in result.err
    for form, load in (("json", json.loads), ("yaml", yaml.safe_load)):
        result = logged_in("predict", "digits", "--query", "1", "-o", form)
        assert load(result.out) == {"prediction": "one", "predictions": [], "left_out": ["t1"]}
        assert "SkSvm#1" in result.err


def test_a_member_is_named_by_its_trial_when_only_the_predictor_is_known(
    cli, server: ContractServer, predictor: Predictor
) -> None:
    predictor.extra = {"left_out": ["t1", "t2"]}
    result = cli("predict", "--host", f"127.0.0.1:{server.port}", "--query", "1")
    assert "Without trial t1, trial t2: these members" in result.err


def test_a_whole_answer_always_says_who_was_left_out(logged_in, predictor: Predictor) -> None:
    assert json.loads(logged_in("predict", "digits", "--query", "1", "-o", "json").out)["left_out"] == []


def test_a_table_of_probabilities_begins_with_the_most_probable_class(logged_in, predictor: Predictor) -> None:
    predictor.prediction = [0.05, 0.9, 0.05]
    out = logged_in("predict", "digits", "--query", "1", "-o", "table").out
    assert out == "class 1  0.9000  of 0.0500 0.9000 0.0500\n"


@pytest.mark.parametrize(
    ("prediction", "text"), [([3, 1, 2], "[3, 1, 2]"), ([0.2, 0.1], "[0.2, 0.1]"), (1.5, "1.5"), ("ä", '"ä"')]
)
def test_a_prediction_that_is_no_probabilities_is_shown_as_it_is(prediction: Any, text: str) -> None:
    assert prediction_text(prediction) == text


def test_show_and_list_tell_what_members_wait_for(logged_in, server: ContractServer, predictor: Predictor) -> None:
    running = server.answers["get_running_inference_job"]
    reason = "it is to leave a draining node, but no other node has 8 GB free"
    waiting = {**running, "waits_for": reason}
    server.answers |= {"get_running_inference_job": waiting, "get_inference_jobs_by_user": [waiting]}
    assert reason in logged_in("infer", "show", "digits").out
    assert reason in logged_in("infer", "list").out


def test_show_tells_the_members_of_the_ensemble_and_which_are_absent(logged_in, predictor: Predictor) -> None:
    result = logged_in("infer", "show", "digits")
    assert "SkSvm#1 0.9000 weight 75.0% (t1)" in result.out
    assert "weight 25.0% (t2)" in result.out
    assert "greedy, at most 3" in result.out
    assert "accuracy 0.9100 on 2,000 validation examples, the best single trial 0.9000" in result.out
    assert result.err == ""
    predictor.absent = ["t1"]
    result = logged_in("infer", "show", "digits")
    assert "SkSvm#1 0.9000 weight 75.0% (t1) ABSENT" in result.out
    assert "1 member of the ensemble cannot answer" in result.err
    assert json.loads(logged_in("infer", "show", "digits", "-o", "json").out)["absent_trial_ids"] == ["t1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--queries-file", "q.png"], "an image is one query"),
        (["digits", "--query", "1", "--timeout", "-1"], "--timeout -1: write a number above 0"),
        (["digits", "--query", "1", "--timeout", "0"], "--timeout 0: write a number above 0"),
        (["digits", "--query", "1", "--timeout", "nan"], "--timeout nan"),
        (["--host", "foo", "--query", "1"], "--host: 'foo' is not the address of a predictor"),
        (["digits", "--query-file", "."], "this is a folder"),
        (["digits", "--query-file", "bad.png"], "this image cannot be read"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(
    logged_in, server: ContractServer, folder: Path, arguments: list[str], message: str
) -> None:
    Image.new("L", (2, 1), 7).save(folder / "q.png")
    (folder / "bad.png").write_bytes(b"no image")
    result = logged_in("predict", *arguments)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert message in result.err


def test_create_sends_how_to_choose_members_and_tells_what_was_chosen(
    logged_in, server: ContractServer, predictor: Predictor
) -> None:
    shown = server.answers["get_running_inference_job"]
    server.answers["create_inference_job"] = {n: shown[n] for n in ("id", "app", "app_version", "predictor_host")}
    server.answers["get_inference_jobs_of_app"] = [shown]
    result = logged_in("infer", "create", "digits", "--ensemble", "greedy", "--size", "3")
    assert "Serves 2 trials; accuracy 0.9100 on 2,000 validation examples" in result.err
    shown["ensemble"] |= {"note": "The best trial has no validation predictions.", "validation_score": None}
    result = logged_in("infer", "create", "digits", "--ensemble", "greedy")
    assert "warning: The best trial is served alone. The best trial has no validation predictions." in result.err
    logged_in("infer", "create", "digits", "--size", "2")
    logged_in("infer", "create", "digits")
    sent = [call.request.ensemble for call in server.calls if call.name == "create_inference_job"]
    greedy = EnsembleMethod.GREEDY
    assert sent == [
        EnsembleSetting(method=greedy, size=3), EnsembleSetting(method=greedy), EnsembleSetting(size=2), None
    ]  # fmt: skip
    assert "no validation predictions" in logged_in("infer", "show", "digits").err


def test_asking_loads_neither_httpx_nor_pydantic(server: ContractServer, predictor: Predictor, folder: Path) -> None:
    (folder / "q.json").write_text("1")
    code = f"""
import sys
from rafiki_cli.main import main
code = main(["predict", "--host", "127.0.0.1:{server.port}", "--query-file", "q.json"])
sys.stderr.write(f"{{code}} {{sorted({{'httpx', 'pydantic', 'rich', 'numpy'}} & set(sys.modules))}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert (done.stdout, done.stderr) == ('"one"\n', "0 []")
