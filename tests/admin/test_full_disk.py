"""A disk without space: an upload or a trial that does not fit is refused with that reason, and the stack goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from support.http.raw_http import TASK, Caller, check_refusal, superadmin_of, unique
from support.stacks.running_stack import MODELS, RunningStack

BIG = (MODELS / "tiny.py").read_bytes().replace(b"np.arange(4,", b"np.arange(1_000_000,")
TOO_BIG = b"x" * (3 << 20)


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Callable[[Path, str], Path]]:
    """Makes file systems of so many bytes (``2m``) at new folders."""
    mounted: list[Path] = []

    def mount(folder: Path, size: str) -> Path:
        folder.mkdir(parents=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode != 0:
            reason = f"this user may not mount a small file system: {done.stderr.strip()}"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def me(small_disk: Callable[[Path, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """The superadmin of a stack whose datasets and parameters have 2 MB each."""
    folder = tmp_path_factory.mktemp("full")
    stores = {f"{name}_folder": str(small_disk(folder / name, "2m")) for name in ("datasets", "params")}
    stack = RunningStack(folder, {"stores": stores, "stack": {"min_free_mb": 0}, "train": {"wait_for_space_s": 1}})
    stack.up()
    yield superadmin_of(stack)
    stack.down()
    assert "unexpected:" not in stack.log.read_text()


def upload(me: Caller, data: bytes) -> httpx.Response:
    return me.send("POST", "/datasets", data={"name": unique("d"), "task": TASK}, files={"dataset": ("d", data)})


def test_an_upload_that_does_not_fit_is_refused_and_the_next_small_one_works(me: Caller) -> None:
    message = check_refusal(upload(me, TOO_BIG), "StoreFullError")
    assert "No space is left in" in message
    dataset_id = me.upload_dataset(data=b"x" * 100_000)
    assert [d["id"] for d in me.ok("GET", "/datasets")] == [dataset_id]


def test_a_trial_whose_parameters_do_not_fit_says_so_and_the_next_small_job_works(me: Caller) -> None:
    model_id = me.send_model(BIG, "Tiny").json()["id"]
    app = me.start_job(model_id=model_id, budget={"MODEL_TRIAL_COUNT": 2})
    job, trials = me.wait_for_job(app), me.trials(app)
    assert [t["status"] for t in trials] == ["ERRORED", "ERRORED"]
    assert all("No space is left in" in t["error"] and "Free some space" in t["error"] for t in trials)
    assert "No space is left in" in job["error"]
    assert me.trials(me.run_job())[0]["status"] == "COMPLETED"


def test_a_stack_whose_whole_disk_is_full_refuses_an_upload_and_goes_on(
    small_disk: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    small_disk(tmp_path / ".rafiki", "6m")
    stack = RunningStack(tmp_path, {"stack": {"min_free_mb": 0}})
    stack.up()
    try:
        me = superadmin_of(stack)
        # More than fits while it arrives, and more than fits a second time.
        for size in (8 << 20, 3 << 20):
            check_refusal(upload(me, b"x" * size), "StoreFullError")
        me.upload_dataset()
        me.run_job()
        assert "unexpected:" not in stack.log.read_text()
    finally:
        stack.down()
