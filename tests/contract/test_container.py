"""What every container manager promises, over real services. `process` is the only back end yet."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from support.stacks.running_stack import eventually

from rafiki.config import worker_environment
from rafiki.container.base import ServiceExit, ServiceRequest
from rafiki.container.process import ProcessContainerManager
from rafiki.errors import ContainerError
from rafiki.utils.ids import new_id
from rafiki.utils.process import end_processes, find_stack_processes

TESTS = str(Path(__file__).resolve().parent.parent)
FOREVER = "import time\nprint('ready', flush=True)\ntime.sleep(600)"
DEAF = "import signal\nfor s in (signal.SIGTERM, signal.SIGINT): signal.signal(s, signal.SIG_IGN)\n" + FOREVER


class Stack:
    """Managers over one folder, and the services that they started."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.run, self.logs = folder / "run", folder / "logs"
        for f in (self.run, self.logs):
            f.mkdir(parents=True)

    def manager(self, **fields: Any) -> ProcessContainerManager:
        """A manager as a (re)started admin makes it."""
        environment = worker_environment(["PASSED_ON"])
        given = {"gpus": [], "memory_limit_mb": None, "model_environment": environment, **fields}
        return ProcessContainerManager(stack_root=self.root, run_folder=self.run, log_folder=self.logs, **given)

    def request(self, code: str, *, model: bool = True, gpus: list[int] | None = None) -> ServiceRequest:
        return ServiceRequest(
            service_id=new_id(), kind="train" if model else "advisor", spec=code.encode(), gpus=gpus or [],
            runs_model_code=model,
        )  # fmt: skip

    def spec_file(self, request: ServiceRequest) -> Path:
        return self.run / f"{request.service_id}.spec"

    def log(self, request: ServiceRequest) -> str:
        return (self.logs / f"{request.kind}-{request.service_id}.log").read_text()

    def wait_for_log(self, request: ServiceRequest, text: str = "ready") -> None:
        eventually(lambda: text in self.log(request), f"{text!r} in the service's log")


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setattr(
        "rafiki.container.process._PROGRAMS", dict.fromkeys(("train", "advisor"), "support.services.container_service")
    )
    monkeypatch.setenv("PYTHONPATH", TESTS)
    made = Stack(tmp_path.resolve() / "stack")
    yield made
    end_processes(find_stack_processes(made.root), 0.0)


@pytest.fixture
def manager(stack: Stack) -> ProcessContainerManager:
    return stack.manager()


def wait_for_end(manager: ProcessContainerManager, request: ServiceRequest, handle: dict[str, Any]) -> ServiceExit:
    found: ServiceExit = eventually(lambda: manager.poll(request.service_id, handle), "the end of the service")
    return found


def run(stack: Stack, manager: ProcessContainerManager, request: ServiceRequest) -> str:
    """The log of a service that ends by itself."""
    wait_for_end(manager, request, manager.start(request))
    return stack.log(request)


# ---- start


def test_a_service_runs_in_a_session_and_process_group_of_its_own(
    stack: Stack, manager: ProcessContainerManager
) -> None:
    log = run(
        stack,
        manager,
        stack.request("import os; print(os.getpid(), os.getpgid(0), os.getsid(0), os.getpgid(os.getppid()))"),
    )
    pid, group, session, admins_group = map(int, log.split())
    assert pid == group == session != admins_group


@pytest.mark.parametrize("model", [True, False])
def test_model_code_gets_the_allowed_environment_alone(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, model: bool
) -> None:
    secrets = {"AWS_SECRET": "a", "RAFIKI_META_STORE__URL": "postgresql://", "RAFIKI_CONFIG": "/x", "DATABASE_URL": "d"}
    for name, value in {**secrets, "PASSED_ON": "yes"}.items():
        monkeypatch.setenv(name, value)
    manager = stack.manager()
    request = stack.request("import json, os; print(json.dumps(dict(os.environ)))", model=model)
    environment = msgspec.json.decode(run(stack, manager, request))
    assert environment["PASSED_ON"] == "yes"
    if model:
        assert not secrets.keys() & environment.keys()
        # What names the process is no secret.
        ours = {name for name in environment if name.startswith("RAFIKI_")}
        assert ours == {"RAFIKI_STACK", "RAFIKI_SERVICE_ID", "RAFIKI_RUNS_MODEL_CODE"}
    else:
        assert secrets.items() <= environment.items()


@pytest.mark.parametrize(("gpus", "visible"), [([], "-1"), ([2], "2"), ([3, 0], "3,0")])
@pytest.mark.parametrize("model", [True, False])
def test_a_service_sees_its_own_gpus_alone(
    stack: Stack,
    manager: ProcessContainerManager,
    monkeypatch: pytest.MonkeyPatch,
    gpus: list[int],
    visible: str,
    model: bool,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    request = stack.request("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])", gpus=gpus, model=model)
    assert run(stack, manager, request).strip() == visible


@pytest.mark.parametrize(("cores", "sharing", "threads"), [(8, 1, "8"), (8, 3, "2"), (2, 4, "1")])
def test_workers_that_share_the_machine_share_its_cores(
    stack: Stack, manager: ProcessContainerManager, monkeypatch: pytest.MonkeyPatch,
    cores: int, sharing: int, threads: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    code = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['OPENBLAS_NUM_THREADS'])"
    request = msgspec.structs.replace(stack.request(code, model=True), sharing=sharing)
    assert run(stack, manager, request).split() == [threads, threads]


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({"OMP_NUM_THREADS": "1"}, "1 1 1"),
        ({"MKL_NUM_THREADS": "3"}, "3 3 3"),
        ({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "4"}, "1 4 1"),
    ],
)
def test_a_number_of_threads_that_the_owner_set_goes_for_all_libraries(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], seen: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    manager = stack.manager(model_environment={**worker_environment([]), **given})
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    request = stack.request(f"import os; print(*(os.environ[n] for n in {names}))")
    assert run(stack, manager, request).strip() == seen


def test_both_outputs_of_a_service_are_in_its_log_at_once(stack: Stack, manager: ProcessContainerManager) -> None:
    request = stack.request(
        "import os, sys\nprint('out')\nsys.stderr.write('err\\n')\nos.system('echo child')\n" + FOREVER
    )
    handle = manager.start(request)
    stack.wait_for_log(request)
    assert {"out", "err", "child"} <= set(stack.log(request).split())
    manager.stop(request.service_id, handle, 1.0)


def test_the_spec_is_private_and_gone_when_the_service_has_ended(
    stack: Stack, manager: ProcessContainerManager
) -> None:
    ends, is_stopped = stack.request("print('done')"), stack.request(FOREVER)
    handles = [manager.start(r) for r in (ends, is_stopped)]
    assert stat.S_IMODE(stack.spec_file(is_stopped).stat().st_mode) == 0o600
    wait_for_end(manager, ends, handles[0])
    manager.stop(is_stopped.service_id, handles[1], 5.0)
    assert list(stack.run.iterdir()) == []


def test_a_service_that_cannot_be_started_is_a_clear_error(stack: Stack) -> None:
    stack.run.rmdir()
    with pytest.raises(ContainerError, match="train service could not be started: No such file"):
        stack.manager().start(stack.request("pass"))


# ---- watch


@pytest.mark.parametrize(
    ("code", "exit_code", "reason"),
    [
        ("print('bye')", 0, "it ended with exit code 0"),
        ("print('one\\n\\ntwo'); exit(7)", 7, "it ended with exit code 7; last in its log: one / two"),
        ("raise ValueError('no such knob')", 1, "ValueError: no such knob"),
        ("import os; print('so far', flush=True); os.kill(os.getpid(), 9)", -9, "by SIGKILL; last in its log: so far"),
        ("import os; os.abort()", -6, "it was killed by SIGABRT"),
    ],
)  # fmt: skip
def test_the_end_of_a_service_is_told_with_its_code_and_its_last_words(
    stack: Stack, manager: ProcessContainerManager, code: str, exit_code: int, reason: str
) -> None:
    request = stack.request(code)
    handle = manager.start(request)
    end = wait_for_end(manager, request, handle)
    assert end.code == exit_code
    assert reason in end.reason
    assert manager.poll(request.service_id, handle) == end
    assert manager.find(request.service_id) is None


def test_a_running_service_is_polled_as_such_and_its_use_is_known(
    stack: Stack, manager: ProcessContainerManager
) -> None:
    request = stack.request(FOREVER)
    handle = manager.start(request)
    assert manager.poll(request.service_id, handle) is None
    stack.wait_for_log(request)
    usage = manager.usage(request.service_id, handle)
    assert usage.pid == handle["pid"]
    assert (usage.memory_bytes or 0) > 1_000_000
    manager.stop(request.service_id, handle, 5.0)
    assert manager.usage(request.service_id, handle).pid is None


@pytest.mark.parametrize("handle", [
    {"pid": 2**22 - 7, "create_time": 1.0, "log": ""},
    {"pid": os.getpid(), "create_time": 1.0, "log": "gone.log"},
])  # fmt: skip
def test_an_unknown_service_has_ended_and_stopping_it_harms_nobody(
    manager: ProcessContainerManager, handle: dict[str, Any]
) -> None:
    end = manager.poll("unknown", handle)
    assert end is not None
    assert end.code is None
    manager.stop("unknown", handle, 0.1)
    assert manager.find("unknown") is None
    assert manager.usage("unknown", handle).memory_bytes is None


def test_handles_are_plain_json(stack: Stack, manager: ProcessContainerManager) -> None:
    request = stack.request("pass")
    handle = manager.start(request)
    assert msgspec.json.decode(msgspec.json.encode(handle)) == handle


# ---- adoption


def test_a_new_manager_polls_and_stops_what_another_one_started(stack: Stack, manager: ProcessContainerManager) -> None:
    request = stack.request(FOREVER)
    handle = msgspec.json.decode(msgspec.json.encode(manager.start(request)))
    manager.close()
    adopting = stack.manager()
    assert adopting.poll(request.service_id, handle) is None
    adopting.stop(request.service_id, handle, 5.0)
    end = adopting.poll(request.service_id, handle)
    assert end is not None
    assert end.reason.startswith("it ended while the admin was away")
    assert find_stack_processes(stack.root) == []


def test_a_service_is_found_without_its_handle(stack: Stack, manager: ProcessContainerManager) -> None:
    request, other = stack.request(FOREVER), stack.request(FOREVER)
    handle = manager.start(request)
    manager.start(other)
    found = stack.manager().find(request.service_id)
    assert found is not None
    assert (found["pid"], found["log"]) == (handle["pid"], handle["log"])
    adopting = stack.manager()
    adopting.stop(request.service_id, found, 5.0)
    assert adopting.find(request.service_id) is None
    assert adopting.find(other.service_id) is not None


SPAWN = """
import os, subprocess, sys
for apart in (False, True):
    p = subprocess.Popen(["sleep", "600"], start_new_session=apart)
    print("child", p.pid, flush=True)
"""


def test_what_a_dead_service_left_behind_is_not_taken_for_it(stack: Stack, manager: ProcessContainerManager) -> None:
    request = stack.request(SPAWN)
    handle = manager.start(request)
    wait_for_end(manager, request, handle)
    assert len(find_stack_processes(stack.root, service_id=request.service_id)) == 2
    assert manager.find(request.service_id) is None
    manager.stop(request.service_id, handle, 0.0)
    assert find_stack_processes(stack.root) == []


# ---- stop


def test_a_service_is_asked_to_end_before_it_is_killed(stack: Stack, manager: ProcessContainerManager) -> None:
    code = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: (print('cleaned up'), sys.exit(0)))\n"
    request = stack.request(code + FOREVER)
    handle = manager.start(request)
    stack.wait_for_log(request)
    manager.stop(request.service_id, handle, 20.0)
    assert "cleaned up" in stack.log(request)
    end = manager.poll(request.service_id, handle)
    assert end is not None
    assert end.code == 0


@pytest.mark.parametrize("is_adopted", [False, True])
@pytest.mark.parametrize("code", [DEAF, SPAWN + FOREVER, SPAWN + DEAF], ids=["deaf", "children", "deaf with children"])
def test_stopping_leaves_nothing_of_a_service_whatever_it_does(
    stack: Stack, manager: ProcessContainerManager, code: str, is_adopted: bool
) -> None:
    request = stack.request(code)
    handle = manager.start(request)
    stack.wait_for_log(request)
    children = [int(line.split()[1]) for line in stack.log(request).splitlines() if line.startswith("child")]
    (stack.manager() if is_adopted else manager).stop(request.service_id, handle, 0.2)
    assert find_stack_processes(stack.root) == []
    assert not any(is_running(pid) for pid in [handle["pid"], *children])
    manager.stop(request.service_id, handle, 0.2)


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_stopping_one_service_leaves_the_others_alone(stack: Stack, manager: ProcessContainerManager) -> None:
    one, other = stack.request(SPAWN + FOREVER), stack.request(SPAWN + FOREVER)
    handles = [manager.start(r) for r in (one, other)]
    for r in (one, other):
        stack.wait_for_log(r)
    manager.stop(one.service_id, handles[0], 5.0)
    assert manager.poll(other.service_id, handles[1]) is None
    assert len(find_stack_processes(stack.root, service_id=other.service_id)) == 3


# ---- limits and devices

HUNGRY = "print('hungry', flush=True)\nheld = bytearray(300 << 20)\n" + FOREVER


def test_a_worker_over_its_memory_limit_is_killed_and_the_reason_says_so(stack: Stack) -> None:
    manager = stack.manager(memory_limit_mb=100)
    request = stack.request(HUNGRY)
    end = wait_for_end(manager, request, manager.start(request))
    assert end.code == -signal.SIGKILL
    assert "more than its limit of 100 MB" in end.reason
    assert "container.memory_limit_mb" in end.reason


def test_a_worker_cannot_reserve_far_more_than_its_memory_limit(stack: Stack) -> None:
    manager = stack.manager(memory_limit_mb=100)
    request = stack.request("import time\ntime.sleep(0.3)\nheld = bytearray(3 << 30)\n" + FOREVER)
    end = wait_for_end(manager, request, manager.start(request))
    assert "MemoryError" in end.reason or "more than its limit" in end.reason


def test_the_memory_limit_is_for_model_code_alone(stack: Stack) -> None:
    manager = stack.manager(memory_limit_mb=100)
    request = stack.request(HUNGRY, model=False)
    handle = manager.start(request)
    stack.wait_for_log(request)
    assert manager.poll(request.service_id, handle) is None
    manager.stop(request.service_id, handle, 5.0)


def fake_smi(folder: Path, script: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        ('test "$*" = "--query-gpu=index --format=csv,noheader" && printf "0\\n1\\n5\\n"', [0, 1, 5]),
        ("exit 9", []),
        ("echo 'No devices were found'", []),
        (None, []),
    ],
)
def test_the_gpus_are_those_that_nvidia_smi_lists(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, gpus: list[int]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        fake_smi(tmp_path, script)
    manager = stack.manager(gpus=None)
    assert manager.gpus() == gpus
    # The caller may change its list.
    manager.gpus().append(99)
    assert manager.gpus() == gpus


def test_configured_gpus_are_not_asked_for(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    fake_smi(tmp_path, "echo 0")
    assert stack.manager(gpus=[4, 6]).gpus() == [4, 6]


def test_services_can_be_started_and_stopped_from_many_threads(stack: Stack, manager: ProcessContainerManager) -> None:
    def start_and_stop(_: int) -> ServiceExit | None:
        request = stack.request(FOREVER)
        handle = manager.start(request)
        stack.wait_for_log(request)
        manager.stop(request.service_id, handle, 5.0)
        return manager.poll(request.service_id, handle)

    with ThreadPoolExecutor(4) as pool:
        ends = list(pool.map(start_and_stop, range(8)))
    assert [e and e.code for e in ends] == [-signal.SIGTERM] * 8
    assert find_stack_processes(stack.root) == []
