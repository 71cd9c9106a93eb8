"""A stack's folder that is deleted under its admin, told from one that is moved."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import uvicorn
from support.stacks.running_stack import eventually

from rafiki.admin import folder_watch
from rafiki.admin.__main__ import _Server
from rafiki.admin.events import EventHub
from rafiki.admin.folder_watch import FolderWatch
from rafiki.config import load_config
from rafiki.settings import Config
from rafiki.stack_folder import StackFolder
from rafiki.utils.pid_file import PidFile
from rafiki.utils.process import STACK_ID_VARIABLE, STACK_VARIABLE


@pytest.fixture
def folder(tmp_path: Path) -> StackFolder:
    (tmp_path / "rafiki.yaml").write_text("")
    made = StackFolder(load_config(tmp_path / "rafiki.yaml", environ={}))
    made.create()
    return made


@pytest.fixture
def watch(folder: StackFolder) -> Iterator[FolderWatch]:
    made = FolderWatch(folder, "this")
    yield made
    made.close()


def test_a_folder_that_was_moved_is_not_deleted(folder: StackFolder, watch: FolderWatch) -> None:
    assert not watch.is_deleted()
    moved = folder.root.rename(folder.root.with_name("moved"))
    assert not watch.is_deleted()
    shutil.rmtree(moved)
    assert watch.is_deleted()


def test_another_folder_of_the_same_name_is_another(folder: StackFolder, watch: FolderWatch) -> None:
    shutil.rmtree(folder.root)
    folder.create()
    assert watch.is_deleted()


def test_an_admin_whose_file_found_no_space_goes_on_and_is_found_once_there_is_some(
    folder: StackFolder, watch: FolderWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To give up would end what serves, where an admin starts after a crash."""
    save, refusals = PidFile.save, [OSError(errno.ENOSPC, "No space left on device")]

    def save_when_there_is_space(pid_file: PidFile, path: Path) -> None:
        if refusals:
            raise refusals.pop()
        save(pid_file, path)

    async def start(server: uvicorn.Server, sockets: object = None) -> None: ...

    monkeypatch.setattr(PidFile, "save", save_when_there_is_space)
    monkeypatch.setattr(uvicorn.Server, "startup", start)
    monkeypatch.setattr(folder_watch, "EVERY_S", 0.01)
    config, hub = uvicorn.Config(lambda: None), create_autospec(EventHub, instance=True)

    async def start_up() -> None:
        await _Server(config, folder, "127.0.0.1", 3000, hub, None, None, watch).startup()

    asyncio.run(start_up())
    assert folder.find_admin() is None
    watch.start(lambda: None)
    eventually(lambda: PidFile.load(folder.admin_pid_file), "what commands find it by")
    assert refusals == []


def test_that_it_was_deleted_is_noticed_once(
    folder: StackFolder, watch: FolderWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watch, "EVERY_S", 0.01)
    noticed = threading.Event()
    watch.start(noticed.set)
    shutil.rmtree(folder.root)
    assert noticed.wait(60)


def test_the_secrets_and_folders_of_a_running_stack_are_made_again(
    folder: StackFolder, watch: FolderWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_watch, "EVERY_S", 0.01)
    secrets = folder.secrets()
    looked = threading.Semaphore(0)
    mended = FolderWatch(folder, "this", looked.release)
    mended.start(lambda: None)
    assert looked.acquire(timeout=60)
    folder.secrets_file.unlink()
    for missing in (folder.run, folder.logs):
        shutil.rmtree(missing)
    eventually(lambda: folder.run.exists() and folder.logs.exists() and folder.secrets_file.exists(), "all of it")
    mended.close()
    assert folder.secrets() == secrets
    assert stat.S_IMODE(folder.secrets_file.stat().st_mode) == 0o600


def test_services_of_another_stack_in_a_folder_of_that_name_go_on(folder: StackFolder, watch: FolderWatch) -> None:
    def service(stack_id: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, STACK_VARIABLE: str(folder.root), STACK_ID_VARIABLE: stack_id}
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment)

    ours, theirs = service("this"), service("another")
    try:
        watch.end_services(Config())
        assert ours.poll() is not None
        assert theirs.poll() is None
    finally:
        for process in (ours, theirs):
            process.kill()
            process.communicate()
