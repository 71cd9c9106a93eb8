"""Services as processes: what the back end for one machine promises besides."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
from support.services.container_rooms import FOREVER, SPAWN, TESTS, ProcessRoom, run, wait_for_end
from support.stacks.running_stack import eventually

from rafiki.config import worker_environment
from rafiki.container import ContainerManager
from rafiki.container.base import ServiceRequest
from rafiki.entities import Gpu
from rafiki.errors import ContainerError


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessRoom]:
    monkeypatch.setenv("PYTHONPATH", TESTS)
    made = ProcessRoom(tmp_path.resolve() / "stack")
    yield made
    made.close()


@pytest.fixture
def manager(room: ProcessRoom) -> ContainerManager:
    return room.manager()


def test_a_service_runs_in_a_session_and_process_group_of_its_own(room: ProcessRoom, manager: ContainerManager) -> None:
    code = "import os; print(os.getpid(), os.getpgid(0), os.getsid(0), os.getpgid(os.getppid()))"
    pid, group, session, admins_group = map(int, run(room, manager, room.request(code)).split())
    assert pid == group == session != admins_group


@pytest.mark.parametrize(("cores", "sharing", "threads"), [(8, 1, "8"), (8, 3, "2"), (2, 4, "1")])
def test_workers_share_the_cores_that_the_admin_may_use(
    room: ProcessRoom, manager: ContainerManager, monkeypatch: pytest.MonkeyPatch,
    cores: int, sharing: int, threads: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    code = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])"
    request = msgspec.structs.replace(room.request(code), sharing=sharing)
    assert run(room, manager, request).split() == [threads, threads]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({"OMP_NUM_THREADS": "1"}, "1 1 1"),
        ({"MKL_NUM_THREADS": "3"}, "3 3 3"),
        ({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "4"}, "1 4 1"),
    ],
)
def test_a_number_of_threads_that_was_set_is_left_as_it_is(
    room: ProcessRoom, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], seen: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    manager = room.manager(model_environment={**worker_environment([]), **given})
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    request = room.request(f"import os; print(*(os.environ[n] for n in {names}))")
    assert run(room, manager, request).strip() == seen


def test_the_spec_is_private_and_gone_when_the_service_has_ended(room: ProcessRoom, manager: ContainerManager) -> None:
    ends, is_stopped = room.request("print('done')"), room.request(FOREVER)
    started = [manager.start(r) for r in (ends, is_stopped)]
    assert stat.S_IMODE((room.run / f"{is_stopped.service_id}.spec").stat().st_mode) == 0o600
    wait_for_end(manager, ends, started[0])
    manager.stop(is_stopped.service_id, started[1].handle, 5.0)
    assert list(room.run.iterdir()) == []


def test_a_service_that_cannot_be_started_is_a_clear_error(room: ProcessRoom) -> None:
    room.run.rmdir()
    room.run.write_text("in the place of the folder")
    with pytest.raises(ContainerError, match="train service could not be started: File exists"):
        room.manager().start(room.request("pass"))


def test_the_process_id_of_a_running_service_is_told(room: ProcessRoom, manager: ContainerManager) -> None:
    request = room.request("import os\nprint(os.getpid())\n" + FOREVER)
    handle = manager.start(request).handle
    room.wait_for_log(request)
    assert manager.usage(request.service_id, handle).pid == int(room.log(request).split()[0])
    manager.stop(request.service_id, handle, 5.0)
    assert manager.usage(request.service_id, handle).pid is None


# ---- handles


def earlier_handle(**fields: object) -> str:
    """As versions before this one have left it in databases."""
    return msgspec.json.encode({"pid": 2**22 - 7, "create_time": 1.0, "log": "", **fields}).decode()


def test_a_handle_of_an_earlier_version_is_good(room: ProcessRoom, manager: ContainerManager) -> None:
    request = room.request("print('started', flush=True)\n" + FOREVER)
    manager.start(request)
    room.wait_for_log(request)
    [process] = [p for p in psutil.process_iter() if request.service_id in " ".join(_command(p))]
    handle = earlier_handle(pid=process.pid, create_time=process.create_time(), log=f"train-{request.service_id}.log")
    adopting = room.manager()
    assert adopting.poll(request.service_id, handle) is None
    adopting.stop(request.service_id, handle, 5.0)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    end = adopting.poll(request.service_id, handle)
    assert end is not None
    assert end.reason == "it ended while the admin was away; last in its log: started / ready"


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize(
    # With names of their own: each test process has another id.
    "handle",
    [earlier_handle(), earlier_handle(pid=os.getpid(), log="gone.log")],
    ids=["no process", "this process"],
)
def test_a_process_id_that_is_used_again_is_not_taken_for_the_service(manager: ContainerManager, handle: str) -> None:
    end = manager.poll("unknown", handle)
    assert end is not None
    assert end.code is None
    manager.stop("unknown", handle, 0.1)
    assert manager.usage("unknown", handle).memory_bytes is None


def test_a_service_that_is_found_again_has_its_log(room: ProcessRoom, manager: ContainerManager) -> None:
    request = room.request(FOREVER)
    started = manager.start(request)
    # Between its fork and its program a process does not show what it was started with.
    found = eventually(lambda: room.manager().find(request.service_id), "the service is found")
    first, second = (msgspec.json.decode(s.handle) for s in (started, found))
    assert (first["pid"], first["log"]) == (second["pid"], second["log"])


@pytest.mark.parametrize("is_adopted", [False, True])
def test_the_children_of_a_stopped_service_are_gone_too(
    room: ProcessRoom, manager: ContainerManager, is_adopted: bool
) -> None:
    request = room.request(SPAWN + FOREVER)
    handle = manager.start(request).handle
    room.wait_for_log(request)
    children = [int(line.split()[1]) for line in room.log(request).splitlines() if line.startswith("child")]
    pid = manager.usage(request.service_id, handle).pid
    assert pid is not None
    (room.manager() if is_adopted else manager).stop(request.service_id, handle, 0.2)
    assert not any(is_running(p) for p in [pid, *children])


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_what_is_left_of_a_dead_service_is_counted_and_ended(room: ProcessRoom, manager: ContainerManager) -> None:
    request = room.request(SPAWN)
    started = manager.start(request)
    wait_for_end(manager, request, started)
    assert room.count_processes(request) == 2
    manager.stop(request.service_id, started.handle, 0.0)
    assert room.count_processes(request) == 0


# ---- limits and devices


def test_a_worker_over_its_memory_limit_is_killed_by_signal(room: ProcessRoom) -> None:
    manager = room.manager(memory_limit_mb=100)
    request = room.request("held = bytearray(300 << 20)\n" + FOREVER)
    assert wait_for_end(manager, request, manager.start(request)).code == -signal.SIGKILL


def test_a_worker_cannot_reserve_far_more_than_its_memory_limit(room: ProcessRoom) -> None:
    manager = room.manager(memory_limit_mb=100)
    request = room.request("import time\ntime.sleep(0.3)\nheld = bytearray(3 << 30)\n" + FOREVER)
    end = wait_for_end(manager, request, manager.start(request))
    assert "MemoryError" in end.reason or "more than its limit" in end.reason


def fake_smi(folder: Path, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


QUERY = "--query-gpu=index,name,memory.total --format=csv,noheader,nounits"


def local(*names: str) -> list[Gpu]:
    return [Gpu("local", name) for name in names]


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        (
            f'test "$*" = "{QUERY}" && printf "0, H200, 143771\\n1, H200, 143771\\n5, T4, [N/A]\\n"',
            local("0", "1", "5"),
        ),
        ("exit 9", []),
        ("echo 'No devices were found'", []),
        (None, []),
    ],
)
def test_the_gpus_are_those_that_nvidia_smi_lists(
    room: ProcessRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, gpus: list[Gpu]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        fake_smi(tmp_path, script)
    assert room.manager(gpus=None).gpus() == gpus


def test_configured_gpus_are_not_asked_for(room: ProcessRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    fake_smi(tmp_path, "echo 0")
    assert room.manager(gpus=[4, 6]).gpus() == local("4", "6")


def test_an_environment_of_its_own_is_activated(room: ProcessRoom, manager: ContainerManager) -> None:
    import sys

    request: ServiceRequest = msgspec.structs.replace(
        room.request("import os; print(os.environ['VIRTUAL_ENV'])"), python=sys.executable
    )
    assert run(room, manager, request).strip() == str(Path(sys.executable).parent.parent)


def test_the_end_of_a_service_is_told_at_once_also_to_an_admin_that_did_not_start_it(room: ProcessRoom) -> None:
    told = [threading.Event(), threading.Event()]
    first, second = room.manager(), room.manager()
    first.on_end(told[0].set)
    second.on_end(told[1].set)
    request = room.request(FOREVER)
    started = first.start(request)
    room.wait_for_log(request)
    assert second.poll(request.service_id, started.handle) is None
    assert not any(event.is_set() for event in told)
    os.kill(json.loads(started.handle)["pid"], signal.SIGKILL)
    assert all(event.wait(30) for event in told)
    assert first.poll(request.service_id, started.handle) is not None


def test_who_is_told_of_an_end_may_watch_the_next_service(room: ProcessRoom) -> None:
    manager, ends = room.manager(), []
    manager.on_end(lambda: ends.append(1))
    for count in (1, 2):
        wait_for_end(manager, request := room.request("print(1)"), manager.start(request))
        eventually(lambda n=count: len(ends) >= n, "word of the end")
