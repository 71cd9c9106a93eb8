from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.http.contract_server import ContractServer

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
        ["dataset", "upload", "--task", "T"],
        ["dataset", "upload", "m.py", "--url", "http://x/y.zip", "--task", "T"],
        ["dataset", "upload", "--url", "http://x/", "--task", "T"],
        ["dataset", "upload", ".", "--task", "T"],
        ["model", "upload", ".", "--task", "T"],
        ["train", "create", "-f", "."],
        ["train", "create", "--hours", "inf"],
        ["train", "create", "--hours", "nan"],
        ["train", "create", "--hours", "0"],
        ["train", "create", "--workers", "0"],
        ["train", "trials", "app", "--limit", "0"],
        ["train", "best", "app", "-n", "0"],
        ["infer", "create", "app", "--replicas", "0"],
        ["infer", "create", "app", "--replicas", "4..1"],
        ["infer", "create", "app", "--replicas", "0..0"],
        ["infer", "create", "app", "--replicas", "1..257"],
        ["infer", "create", "app", "--replicas", "257"],
        ["infer", "create", "app", "--replicas", "some"],
        ["infer", "create", "app", "--replicas", "1..4", "--idle", "60"],
        ["infer", "create", "app", "--idle", "60"],
        ["infer", "scale", "app"],
        ["infer", "scale", "app", "--max", "0"],
        ["infer", "scale", "app", "--min", "-1"],
        ["user", "create", "a@rafiki", "--password-file", "."],
        ["config", "validate", "."],
        ["logs", "admin", "-n", "-5"],
        ["logs", "admin", "-f", "-o", "json"],
        ["--admin", "foo", "whoami"],
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
    assert "Errno" not in result.err
    # Which stack answers at the address may have been looked at.
    assert [call.name for call in server.calls[before:] if call.name != "get_health"] == []


def test_a_dataset_is_fetched_from_a_url_under_the_name_of_its_file(logged_in, server: ContractServer) -> None:
    server.answers["create_dataset"] = {"id": "d"}
    url = "https://example.org/some%20data/digits.zip?key=1"
    assert logged_in("dataset", "upload", "--url", url, "--task", "T", "-o", "json").code == 0
    sent = server.calls[-1].request
    assert (sent.name, sent.dataset_url, sent.dataset) == ("digits", url, None)


@pytest.mark.parametrize(
    "arguments", [["dataset", "upload", ".", "--task", "T"], ["model", "upload", ".", "--task", "T"]]
)
def test_a_folder_is_not_said_to_be_missing(logged_in, arguments: list[str]) -> None:
    assert "this is a folder" in logged_in(*arguments).err


def test_an_empty_list_is_valid_json_and_words_go_to_stderr(logged_in, server: ContractServer) -> None:
    server.answers["get_datasets"] = []
    assert logged_in("dataset", "list", "-o", "json").out == "[]\n"
    result = logged_in("dataset", "list")
    assert result.out == ""
    assert "rafiki dataset upload" in result.err


def test_trial_logs_come_in_the_order_of_time(logged_in, server: ContractServer) -> None:
    server.answers["get_trial"] = {"id": "12345678-1234-1234-1234-123456789012"}
    server.answers["get_trial_logs"] = {
        "messages": [{"time": "2025-01-01T10:00:02Z", "message": "second"}],
        "metrics": [{"time": "2025-01-01T10:00:01Z", "loss": 0.5}],
        "plots": [],
    }
    result = logged_in("trial", "logs", "12345678-1234-1234-1234-123456789012")
    assert result.code == 0, result.err
    first, second = result.out.splitlines()
    assert first.endswith("loss=0.5")
    assert second.endswith("second")


def test_logs_are_found_by_name_or_beginning_of_an_id(cli, folder: Path) -> None:
    logs = folder / ".rafiki" / "logs"
    logs.mkdir(parents=True)
    rest = "0000-0000-4000-8000-000000000000"
    for name in ("admin", "train-aa11", "train-ab22"):
        file = logs / (f"{name}{rest}.log" if "-" in name else f"{name}.log")
        file.write_text("".join(f"{name} {i}\n" for i in range(200)))
    assert cli("logs", "admin", "-n", "2").out == "admin 198\nadmin 199\n"
    assert cli("logs", "aa", "-n", "1").out == "train-aa11 199\n"
    assert cli("logs", "train").code == cli("logs", "nosuch").code == ExitCode.NOT_FOUND
    assert json.loads(cli("logs", "aa", "-n", "1", "-o", "json").out)["lines"] == ["train-aa11 199"]
    assert cli("logs", "aa", "-n", "0").out == ""
    # Services of an older Rafiki have no names.
    names = ["admin", "train aa110000", "train ab220000"]
    assert ", ".join(names[1:]) in cli("logs", "train").err
    assert [row["name"] for row in json.loads(cli("logs", "-o", "json").out)] == names


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


def test_an_unexpected_error_is_one_line(logged_in, server: ContractServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rafiki_cli.render.values.size", lambda _: {}["no such key"])
    server.answers["get_datasets"] = [{"id": "d1"}]
    result = logged_in("dataset", "list")
    assert result.code == ExitCode.FAILURE
    assert "Traceback" not in result.err
    assert "--debug" in result.err
    with pytest.raises(KeyError):
        logged_in("dataset", "list", "--debug")
