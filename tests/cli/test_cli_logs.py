"""`rafiki logs` and what a trial printed: services by the names that people read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.service_names import NamedService, ServiceNames
from rafiki_cli.commands import trial
from rafiki_cli.completion.shell import complete
from rafiki_cli.main import _app
from rafiki_cli.target.logs import list_logs

SERVICES = [
    ("aaaaaaaa-0000-4000-8000-000000000001", "train demo/1 SkDt#1", "j1", 1),
    ("bbbbbbbb-0000-4000-8000-000000000002", "train demo/1 SkDt#1", "j1", 2),
    ("cccccccc-0000-4000-8000-000000000003", "train demo/1 SkDt#2", "j1", 1),
    ("dddddddd-0000-4000-8000-000000000004", "predict demo/1", "i1", 1),
    ("eeeeeeee-0000-4000-8000-000000000005", "predict other/1", "i2", 1),
    ("ffffffff-0000-4000-8000-000000000006", "predict other/1", "i3", 1),
]


@pytest.fixture
def logs(folder: Path) -> Path:
    found = folder / ".rafiki" / "logs"
    found.mkdir(parents=True)
    names = ServiceNames(found)
    for name in ("admin", "cache", "environment-0123abcd"):
        (found / f"{name}.log").write_text(f"{name} says\n")
    for id, name, job, attempt in SERVICES:
        (found / f"{name.split()[0]}-{id}.log").write_text(f"{id[:4]} says\n")
        names.add(NamedService(id=id, name=name, job_id=job, attempt=attempt))
    (found / "train-99999999-0000-4000-8000-000000000009.log").write_text("old says\n")
    return found


def test_the_list_tells_names(cli, logs: Path) -> None:
    found = json.loads(cli("logs", "-o", "json").out)
    assert [row["name"] for row in found] == [
        "admin", "cache", "environment 0123abcd", "predict demo/1", "predict other/1", "predict other/1",
        "train 99999999", "train demo/1 SkDt#1", "train demo/1 SkDt#1", "train demo/1 SkDt#2",
    ]  # fmt: skip
    assert [row["attempt"] for row in found if row["name"] == "train demo/1 SkDt#1"] == [1, 2]
    assert "train demo/1 SkDt#2" in cli("logs").out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["admin"], "admin says"),
        (["train demo/1 SkDt#2"], "cccc says"),
        (["train", "demo/1", "SkDt#2"], "cccc says"),
        (["TRAIN", "demo/1", "skdt#2"], "cccc says"),
        (["SkDt#2"], "cccc says"),
        (["SkDt#1"], "bbbb says"),  # of a restarted one the newest
        (["aaaa"], "aaaa says"),  # the older one has an id
        ([SERVICES[0][0]], "aaaa says"),
        ([f"train-{SERVICES[0][0]}"], "aaaa says"),
        ([f"train-{SERVICES[0][0]}.log"], "aaaa says"),
        (["predict", "demo/1"], "dddd says"),
        (["environment", "0123"], "environment-0123abcd says"),
        (["9999"], "old says"),
    ],
)
def test_a_log_is_named_by_the_words_of_its_service_or_by_its_id(cli, logs: Path, words: list[str], says: str) -> None:
    assert cli("logs", *words).out == f"{says}\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "demo/1"], "fits 2 logs: train demo/1 SkDt#1, train demo/1 SkDt#2. Write more of the name."),
        (
            ["predict", "other/1"],
            f"predict other/1 ({SERVICES[4][0]}), predict other/1 ({SERVICES[5][0]}). Write its id.",
        ),
        (["train", "demo/1", "SkDt#3"], "Did you mean"),
        (["nothing"], "`rafiki logs` lists what logs there are."),
    ],
)
def test_what_fits_none_or_several_is_told_with_a_way_on(cli, logs: Path, words: list[str], says: str) -> None:
    result = cli("logs", *words)
    assert result.code in (ExitCode.REFUSED, ExitCode.NOT_FOUND)
    assert says in result.err


def test_every_name_of_the_list_is_taken(cli, logs: Path) -> None:
    for log in list_logs(logs):
        if log.name != "predict other/1":
            assert cli("logs", log.name).code == 0, log.name
        assert cli("logs", log.service_id or log.name).code == 0


def test_names_are_completed_whole_and_word_by_word(logs: Path) -> None:
    import typer.main

    root = typer.main.get_command(_app)

    def values(*words: str) -> list[str]:
        return [value for value, _ in complete(root, ["logs", *words[:-1]], words[-1]).values]

    assert values("tr") == ["train 99999999", "train demo/1 SkDt#1", "train demo/1 SkDt#2"]
    assert values("train", "") == ["99999999", "demo/1 SkDt#1", "demo/1 SkDt#2"]
    assert values("train", "demo/1", "SkDt#") == ["SkDt#1", "SkDt#2"]


# ---- what a trial printed


@pytest.fixture
def printing(server: ContractServer, trial: dict[str, Any], logs: Path) -> dict[str, Any]:
    trial |= {"worker_id": SERVICES[2][0], "no": 1, "attempt": 1}
    server.answers |= {
        "get_trials_of_train_job": [trial],
        "get_trial_logs": {"messages": [{"time": "2025-01-01T10:00:01Z", "message": "logged"}], "metrics": [],
                           "plots": []},
    }  # fmt: skip
    begins, ends = (
        f"2026-11-30 06:00:00 INFO    trial 1: {m}" for m in ("begins (attempt 1)", "ends with the score 1")
    )
    text = f"before\n{begins}\nepoch 1\nepoch 2\n{ends}\nafter\n"
    (logs / f"train-{SERVICES[2][0]}.log").write_text(text)
    return trial


def test_what_a_model_printed_stands_below_what_it_logged(logged_in, folder: Path, printing: dict[str, Any]) -> None:
    out = logged_in("trial", "logs", "digits", "1").out
    told = "printed (`rafiki logs train demo/1 SkDt#2`):\nepoch 1\nepoch 2\n"
    assert out.endswith(f"  logged\n\n{told}")
    assert json.loads(logged_in("trial", "logs", "digits", "1", "-o", "json").out)["printed"] == ["epoch 1", "epoch 2"]
    assert "train demo/1 SkDt#2" in logged_in("trial", "show", "digits", "1").out


def test_where_it_cannot_be_found_the_very_command_is_told(logged_in, logs: Path, printing: dict[str, Any]) -> None:
    (logs / f"train-{SERVICES[2][0]}.log").write_text("no record of a trial\n")
    result = logged_in("trial", "logs", "digits", "1")
    assert "What it printed is in the log of its worker: `rafiki logs train demo/1 SkDt#2`." in result.err
    (logs / f"train-{SERVICES[2][0]}.log").unlink()
    result = logged_in("trial", "logs", "digits", "1")
    assert f"on the machine of the stack: `rafiki logs {SERVICES[2][0]}`." in result.err
    assert json.loads(logged_in("trial", "logs", "digits", "1", "-o", "json").out)["printed"] is None


def test_what_a_running_trial_prints_is_followed_as_it_is_written(
    logged_in, server: ContractServer, logs: Path, printing: dict[str, Any]
) -> None:
    file, other = (logs / f"train-{service[0]}.log" for service in (SERVICES[2], SERVICES[1]))
    record = "2026-11-30 06:00:00 INFO    trial 1: "
    file.write_text(f"before\n{record}begins (attempt 1)\nepoch 1\nepo")
    running = {**printing, "status": "RUNNING", "score": None}
    begun = threading.Event()

    def events(_: Any) -> Iterator[dict[str, Any]]:
        yield {"type": "snapshot", "trial": running, "messages": [], "metrics": [], "plots": []}
        assert begun.wait(60)
        with file.open("a") as f:
            f.write("ch 2\n")
        other.write_text(f"{record}begins (attempt 2)\nonce more\n{record}ends with the score 1\nafter\n")
        anew = {**running, "attempt": 2, "worker_id": SERVICES[1][0]}
        yield {"type": "snapshot", "trial": anew, "messages": [], "metrics": [], "plots": []}
        yield {"type": "end", "trial": {**printing, "attempt": 2}}

    def out(lines: list[str], format: Any) -> None:
        if lines:
            begun.set()
        put(lines, format)

    put = trial._put_printed
    server.answers["watch_trial_logs"] = events
    with mock.patch.object(trial, "_put_printed", out):
        result = logged_in("trial", "logs", "digits", "1", "--follow")
    assert result.code == 0
    assert result.out.splitlines() == ["| epoch 1", "| epoch 2", "| once more"]
    assert "rafiki logs" not in result.err

    begun.set()
    lines = logged_in("trial", "logs", "digits", "1", "-f", "-o", "jsonl").out.splitlines()
    told = [json.loads(line) for line in lines]
    assert [line for e in told if e["type"] == "printed" for line in e["lines"]][-1] == "once more"


def test_of_a_stack_elsewhere_it_is_told_where_a_trial_prints(
    logged_in, server: ContractServer, logs: Path, printing: dict[str, Any]
) -> None:
    (logs / f"train-{SERVICES[2][0]}.log").unlink()
    running = {**printing, "status": "RUNNING", "score": None}
    server.answers["watch_trial_logs"] = [
        {"type": "snapshot", "trial": running, "messages": [], "metrics": [], "plots": []},
        {"type": "end", "trial": printing},
    ]
    result = logged_in("trial", "logs", "digits", "1", "--follow")
    assert f"What it prints is on the machine of the stack: `rafiki logs {SERVICES[2][0]} --follow`." in result.err
