"""The folders in which predictors listen for workers, and that a deployment uses them."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import httpx
import psutil
import pytest
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack, eventually

from rafiki.admin.direct_folders import DirectFolders


def folders(root: Path, *live: str) -> DirectFolders:
    store = MagicMock()
    store.inference_jobs.list_live_inference_jobs.return_value = [SimpleNamespace(id=job_id) for job_id in live]
    return DirectFolders(store, root)


def test_a_folder_is_for_its_owner_alone_and_goes_after_its_job(tmp_path: Path) -> None:
    root = tmp_path / "run" / "direct"
    first = folders(root, "a").folder_of("a")
    assert first == root / "a"
    assert [stat.S_IMODE(p.stat().st_mode) for p in (root, first)] == [0o700] * 2
    (first / "p.sock").touch()
    assert folders(root, "a").folder_of("a") == first
    assert folders(root, "a", "b").folder_of("b") == root / "b"
    assert (first / "p.sock").exists()
    assert folders(root, "b", "c").folder_of("c") == root / "c"
    assert sorted(p.name for p in root.iterdir()) == ["b", "c"]


def test_without_a_folder_there_is_no_direct_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert folders(tmp_path / "file", "a").folder_of("a") is None
    assert "no direct way" in caplog.text


def test_the_workers_of_a_deployment_are_connected_to_its_predictor(people: People, stack: RunningStack) -> None:
    owner = people.superadmin.make_user("MODEL_DEVELOPER")
    app = owner.run_job()
    job = owner.ok("POST", "/inference_jobs", json={"app": app})
    try:
        url = f"http://{job['predictor_host']}"
        eventually(lambda: not httpx.get(url, trust_env=False).json()["absent"], "a member that serves")

        def is_connected() -> bool:
            port = int(job["predictor_host"].rpartition(":")[2])
            (predictor,) = (
                p
                for p in stack.processes("predict")
                if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in p.net_connections("tcp"))
            )
            # The one that listens, and one for the worker.
            return sum(str(c.laddr).endswith(".sock") for c in predictor.net_connections("unix")) >= 2

        eventually(is_connected, "a worker on the direct way")
        assert httpx.post(f"{url}/predict", json={"query": "q"}, trust_env=False).status_code == 200
        assert [f.name for f in (stack.root / "run" / "direct" / job["id"]).iterdir()]
    finally:
        owner.ok("POST", f"/inference_jobs/{app}/-1/stop")
