from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console
from support.http.complete_answers import record
from support.http.contract_server import ContractServer

from rafiki.contract.datasets import DatasetView
from rafiki.contract.inference_jobs import InferenceJobView
from rafiki.contract.models import ModelView
from rafiki.contract.stack import ServiceView
from rafiki.contract.train_jobs import TrainJobView, TrialView
from rafiki.contract.users import UserView
from rafiki_cli.commands import dataset, infer, model, train, trial, user
from rafiki_cli.render import services
from rafiki_cli.render.output import Column, fit, table_view

ID = "12345678-1234-1234-1234-123456789012"
LONG = "ValueError: " + "what this model cannot take " * 10
TIME = "2025-01-01T10:00:00Z"
ROWS: dict[str, tuple[list[Column[Any]], type[msgspec.Struct], dict[str, Any]]] = {
    "dataset": (
        dataset._COLUMNS, DatasetView,
        {"name": "digits_train", "task": "TABULAR_CLASSIFICATION", "size_bytes": 123_456, "datetime_created": TIME},
    ),
    "model": (
        model._COLUMNS, ModelView,
        {
            "name": "SkSvm", "task": "TABULAR_CLASSIFICATION", "model_class": "SkSvm", "access_right": "PRIVATE",
            "datetime_created": TIME, "load_error": LONG,
        },
    ),
    "train": (
        train._COLUMNS, TrainJobView,
        {
            "app": "digits", "app_version": 12, "status": "STOPPED", "outcome": "COMPLETED",
            "task": "IMAGE_CLASSIFICATION", "error": None,
            "models": [{"model_name": "SkSvm"}, {"model_name": "SkDt"}], "datetime_started": TIME,
            "budget": {"MODEL_TRIAL_COUNT": 12, "TIME_HOURS": 0.5, "GPU_COUNT": 0}, "datetime_stopped": TIME,
        },
    ),
    "trial": (
        trial.TRIAL_COLUMNS, TrialView,
        {
            "no": 10, "model_name": "SkSvm", "status": "COMPLETED", "score": 0.9, "error": LONG,
            "proposal": {"knobs": {f"knob_{i}": i for i in range(20)}}, "datetime_started": TIME,
            "datetime_stopped": TIME,
        },
    ),
    "infer": (
        infer._COLUMNS, InferenceJobView,
        {
            "app": "digits", "app_version": 1, "status": "STOPPED", "predictor_host": "127.0.0.1:41000",
            "trial_ids": [ID, ID], "datetime_started": TIME, "datetime_stopped": TIME, "error": None,
        },
    ),
    "user": (
        user._COLUMNS, UserView,
        {"email": "superadmin@rafiki", "user_type": "MODEL_DEVELOPER", "banned_date": TIME},
    ),
    "stack": (
        services.columns(datetime.fromisoformat("2025-01-01T12:10:00+00:00")), ServiceView,
        {
            "service_type": "INFERENCE", "app": "digits", "status": "DEPLOYING", "pid": 1_234_567, "port": 41000,
            "gpus": [], "memory_bytes": 123_400_000, "datetime_started": TIME, "error": None,
            "attempt": 3, "last_error": LONG, "figures": None,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_list_takes_one_line_a_row_on_80_columns_and_cuts_neither_ids_nor_status_nor_dates(name: str) -> None:
    columns, kind, row = ROWS[name]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table_view([record({"id": ID, **row}, kind)] * 3, columns, 80))
    lines = console.export_text().splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) <= 80
    titles, cells = lines[0].split(), lines[2]
    if "ID" in titles:
        assert cells.startswith("12345678 ") or cells.rstrip().endswith(" 12345678")
    for key in ("outcome" if "outcome" in row else "status", "app", "name", "predictor_host", "email"):
        assert str(row.get(key) or "") in cells
    assert "2025-01-0" not in cells or "2025-01-01 " in cells


def test_a_terminal_without_utf8_is_sent_nothing_that_it_lacks() -> None:
    columns = [
        Column[tuple[str, str]]("NAME", lambda r: r[0], least=6),
        Column[tuple[str, str]]("MODEL", lambda r: r[1]),
    ]
    console = Console(width=20, file=io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True))
    console.print(table_view([("Größenvergleich", "★ Netz")], columns, 20, "ascii"))
    shown = console.file.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "Gr??envergl" in shown
    assert "? Netz" in shown


def test_columns_go_by_rank_and_those_that_may_be_cut_share_what_is_left() -> None:
    columns = [Column("A", str), Column("B", str, least=5), Column("C", str, rank=1), Column("D", str, rank=2)]
    natural = [4, 20, 6, 8]
    assert fit(columns, natural, 100) == {0: 4, 1: 20, 2: 6, 3: 8}
    assert fit(columns, natural, 30) == {0: 4, 1: 6, 2: 6, 3: 8}
    assert fit(columns, natural, 28) == {0: 4, 1: 14, 2: 6}
    assert fit(columns, natural, 14) == {0: 4, 1: 8}
    assert fit(columns, [4, 0, 6, 8], 100) == {0: 4, 2: 6, 3: 8}


def test_into_a_pipe_nothing_is_cut(logged_in, server: ContractServer, job: dict[str, Any]) -> None:
    error = "first line\n" + LONG
    server.answers["get_available_models"] = [{"id": ID, **ROWS["model"][2], "load_error": error}]
    server.answers["get_train_jobs_by_user"] = [{**job, "error": error}]
    server.answers["get_trials_of_train_job"] = [{"id": ID, **ROWS["trial"][2], "error": error, "status": "ERRORED"}]
    server.answers["get_train_job"] = job
    for arguments in (["model", "list"], ["train", "list"], ["train", "trials", "a"], ["train", "watch", "a"]):
        out = logged_in(*arguments).out
        assert "first line " + LONG.strip() in out
        assert "…" not in out


def test_on_a_terminal_a_list_is_short(server: ContractServer, logged_in, folder: Path) -> None:
    server.answers["get_datasets"] = [{"id": ID, **ROWS["dataset"][2]}]
    out, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "rafiki_cli", "dataset", "list"]
    subprocess.run(command, stdout=terminal, env=environment, check=True)
    os.close(terminal)
    shown = os.read(out, 65536).decode()
    os.close(out)
    assert "12345678 " in shown
    assert ID not in shown
