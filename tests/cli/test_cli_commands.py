from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from contract_server import ContractServer
from PIL import Image

from rafiki.constants import ExitCode

MODEL = "from rafiki.model import BaseModel\nclass Tree(BaseModel): ...\n"


def test_a_model_is_uploaded_under_the_class_found_in_its_file(logged_in, server: ContractServer, folder: Path) -> None:
    (folder / "m.py").write_text(MODEL)
    server.answers["create_model"] = {"id": "m1", "user_id": "u1", "name": "Tree", "load_error": None}
    result = logged_in(
        "model", "upload", "m.py", "--task", "T", "--dep", "scikit-learn=>=1.4", "--dependencies", '{"torch": "2"}'
    )
    assert result.code == 0
    sent = server.calls[-1].request
    assert (sent.name, sent.model_class, sent.access_right) == ("Tree", "Tree", "PRIVATE")
    assert sent.dependencies == {"torch": "2", "scikit-learn": ">=1.4"}


@pytest.mark.parametrize(("extra", "code"), [([], ExitCode.REFUSED), (["--allow-invalid"], ExitCode.OK)])
def test_a_model_that_does_not_load_fails_unless_that_is_allowed(
    logged_in, server: ContractServer, folder: Path, extra: list[str], code: ExitCode
) -> None:
    (folder / "m.py").write_text(MODEL)
    server.answers["create_model"] = {"id": "m1", "user_id": "u1", "name": "Tree", "load_error": "No module named x"}
    result = logged_in("model", "upload", "m.py", "--task", "T", "-o", "json", *extra)
    assert result.code == code
    assert "No module named x" in result.err
    assert json.loads(result.out)["id"] == "m1"


@pytest.mark.parametrize(
    "arguments",
    [
        ["model", "upload", "nowhere.py", "--task", "T"],
        ["model", "upload", "m.py", "--task", "T", "--dep", "torch"],
        ["model", "upload", "m.py", "--task", "T", "--dependencies", "[1]"],
        ["dataset", "upload", "nowhere.zip", "--task", "T"],
        ["predict", "--query", "1"],
        ["predict", "app"],
        ["predict", "app", "--query", "{no"],
        ["predict", "app", "--query-file", "nowhere.png"],
        ["user", "ban", "x@rafiki"],
        ["train", "create", "--arg", "epochs"],
        ["quickstart", "--admin", "localhost:1"],
    ],
)
def test_wrong_arguments_are_usage_errors_before_anything_is_asked(
    logged_in, server: ContractServer, folder: Path, arguments: list[str]
) -> None:
    (folder / "m.py").write_text(MODEL)
    before = len(server.calls)
    result = logged_in(*arguments)
    assert result.code == ExitCode.USAGE
    assert result.out == ""
    assert len(server.calls) == before


def test_an_empty_list_is_valid_json_and_words_go_to_stderr(logged_in, server: ContractServer) -> None:
    server.answers["get_datasets"] = []
    assert logged_in("dataset", "list", "-o", "json").out == "[]\n"
    result = logged_in("dataset", "list")
    assert result.out == ""
    assert "rafiki dataset upload" in result.err


def test_trial_logs_come_in_the_order_of_time(logged_in, server: ContractServer) -> None:
    server.answers["get_trial_logs"] = {
        "messages": [{"time": "2025-01-01T10:00:02Z", "message": "second"}],
        "metrics": [{"time": "2025-01-01T10:00:01Z", "loss": 0.5}],
        "plots": [],
    }
    first, second = logged_in("trial", "logs", "t1").out.splitlines()
    assert first.endswith("loss=0.5")
    assert second.endswith("second")


@pytest.fixture
def predictor(server: ContractServer, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The server also answers /predict, with the queries it got."""
    asked: list[Any] = []
    plain = server.serve

    def serve(method: str, target: str, headers: Any, body: bytes) -> tuple[int, bytes]:
        if target != "/predict":
            return plain(method, target, headers, body)
        query = json.loads(body)
        asked.append(query)
        answer = {"prediction": "one", "predictions": ["many"] * len(query.get("queries", []))}
        return 200, json.dumps(answer).encode()

    monkeypatch.setattr(server, "serve", serve)
    server.answers["get_running_inference_job"] = {"predictor_host": f"127.0.0.1:{server.port}"}
    return asked


def test_predict_takes_json_a_file_an_image_and_batches(logged_in, folder: Path, predictor: list[Any]) -> None:
    Image.new("L", (2, 1), 7).save(folder / "q.png")
    (folder / "q.json").write_text('{"x": 1}')
    (folder / "many.json").write_text("[1, 2]")
    for option, value, out in (
        ("--query", "[1, 2]", "one"),
        ("--query-file", "q.json", "one"),
        ("--query-file", "q.png", "one"),
        ("--queries-file", "many.json", ["many", "many"]),
    ):
        assert json.loads(logged_in("predict", "digits", option, value).out) == out
    grey = [7, 7, 7]
    assert predictor == [{"query": [1, 2]}, {"query": {"x": 1}}, {"query": [[grey, grey]]}, {"queries": [1, 2]}]


def test_logs_are_found_by_name_or_beginning_of_an_id(cli, folder: Path) -> None:
    logs = folder / ".rafiki" / "logs"
    logs.mkdir(parents=True)
    for name in ("admin", "train-aa11", "train-ab22"):
        (logs / f"{name}.log").write_text("".join(f"{name} {i}\n" for i in range(200)))
    assert cli("logs", "admin", "-n", "2").out == "admin 198\nadmin 199\n"
    assert cli("logs", "aa", "-n", "1").out == "train-aa11 199\n"
    assert cli("logs", "train").code == ExitCode.FAILURE
    assert "train-aa11, train-ab22" in cli("logs", "train").err
    assert [row["name"] for row in json.loads(cli("logs", "-o", "json").out)] == ["admin", "train-aa11", "train-ab22"]


def test_a_reader_that_hangs_up_is_no_error_to_look_at(folder: Path) -> None:
    logs = folder / ".rafiki" / "logs"
    logs.mkdir(parents=True)
    (logs / "admin.log").write_text("x" * 80 + "\n" * 20_000)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "rafiki_cli", "logs", "admin", "-n", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.wait()


def test_an_unexpected_error_is_one_line(logged_in, server: ContractServer) -> None:
    server.answers["get_datasets"] = [{"id": 1}]
    result = logged_in("dataset", "list")
    assert result.code == ExitCode.FAILURE
    assert "Traceback" not in result.err
    assert "--debug" in result.err
    with pytest.raises(KeyError):
        logged_in("dataset", "list", "--debug")
