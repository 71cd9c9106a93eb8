"""Services as local processes: each in a process group of its own, with its log in a file."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import psutil

from rafiki.container import endings
from rafiki.container.base import (
    Address,
    ContainerBackend,
    ContainerManager,
    ContainerSetup,
    ServiceExit,
    ServiceRequest,
    ServiceUsage,
    StartedService,
    read_handle,
)
from rafiki.container.hosts import GpuFacts, Host
from rafiki.container.inventory import FoundGpu, find_gpus
from rafiki.container.process_ends import ProcessEnds
from rafiki.container.process_tree import ProcessTree, first_of
from rafiki.container.threads import THREAD_VARIABLES, count_cores, threads_of_worker
from rafiki.entities import LOCAL_HOST, Gpu
from rafiki.errors import ContainerError, StoreFullError
from rafiki.sandbox.limits import group_limits_of
from rafiki.sandbox.sandbox import BOX_FOLDER, DIRECT, DOORS, Box, BoxRequest, exit_code_of
from rafiki.utils.clock import Deadline
from rafiki.utils.files import make_again, write_atomic
from rafiki.utils.folders import is_same_folder
from rafiki.utils.pid_file import ProcessHandle, handle_of, stack_of_process
from rafiki.utils.process import (
    SERVICE_VARIABLE,
    STACK_ID_VARIABLE,
    STACK_VARIABLE,
    find_stack_processes,
    wait_until,
)
from rafiki.utils.sockets import any_free_port, is_free

_KILL_TIMEOUT_S = 5.0
_PORT_TRIES = 100
_PORTS_REMEMBERED = 100
MODEL_CODE_VARIABLE = "RAFIKI_RUNS_MODEL_CODE"
MODEL_CODE_KINDS = frozenset({"train", "inference"})
ADDRESS_VARIABLE = "RAFIKI_SERVICE_ADDRESS"
"""Where the service was told to listen, as ``host port``: whoever finds it without its handle reads it there."""
_MEMORY_HEADROOM_BYTES = 1 << 30
"""What a worker may reserve beyond its limit before allocations fail; what it really uses is held to the limit."""


class _Handle(msgspec.Struct, frozen=True):
    """A service of this back end, as JSON: these fields are in databases."""

    pid: int
    create_time: float
    log: str = ""

    def process(self) -> psutil.Process | None:
        """The process if it still runs."""
        return ProcessHandle(self.pid, self.create_time).process()


class ProcessContainerManager(ContainerManager):
    """Back end for one machine."""

    def __init__(self, setup: ContainerSetup) -> None:
        settings = setup.config.container
        self._stack_root = setup.stack_root
        self._stack_id = setup.stack_id
        self._run = setup.run_folder
        self._logs = setup.log_folder
        self._listen_host = setup.config.predictor.host
        self._listen_ports = setup.config.predictor.ports
        self._gpu_indices = settings.gpus
        self._found_gpus: list[FoundGpu] | None = None
        limit_mb = settings.memory_limit_mb
        self._memory_limit_bytes = limit_mb * 1024 * 1024 if limit_mb else None
        self._most_processes = settings.max_processes
        self._has_network = settings.network
        self._group_limits = group_limits_of(settings)
        self._sandbox = setup.sandbox
        self._tree = ProcessTree()
        self._ends = ProcessEnds()
        self._model_environment = setup.model_environment
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._over_limit: dict[str, str] = {}
        """Why services were killed, by their ids."""
        self._given_ports: list[int] = []
        """Those that services were told last."""
        self._lock = threading.Lock()

    # ---- start

    def start(self, request: ServiceRequest) -> StartedService:
        # Where create_train_job and create_inference_job end in the admin: from here on the service goes by its spec.
        log_file = self._logs / f"{request.kind}-{request.service_id}.log"
        address = self._allocate(request) if request.listens else None
        environment = self._environment(request, address)
        try:
            for folder in (self._run, self._logs):
                make_again(folder)
            spec_file = self._leave_spec(request, address)
            with log_file.open("ab") as log, self._box(request, spec_file, environment) as box:
                child = subprocess.Popen(
                    box.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                    env=environment, cwd=self._run, pass_fds=box.descriptors,
                )  # fmt: skip
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFullError(
                    f"The {request.kind} service could not be started: no space is left on the disk of {self._run}."
                ) from e
            raise ContainerError(
                f"The {request.kind} service could not be started: {e.strerror} ({e.filename})."
            ) from e
        with self._lock:
            self._children[request.service_id] = child
        self._ends.watch(child.pid)
        if request.runs_model_code and self._memory_limit_bytes:
            self._limit_memory(child.pid, self._memory_limit_bytes)
        try:
            create_time = handle_of(child.pid).create_time
        except psutil.NoSuchProcess:
            create_time = 0.0
        return self._started(_Handle(child.pid, create_time, log_file.name), address)

    def _leave_spec(self, request: ServiceRequest, address: Address | None) -> Path:
        """Put the spec where the service finds it."""
        file = self._spec_file(request.service_id)
        # Private from the first byte on: a spec may hold credentials.
        write_atomic(file, request.make_spec(address), mode=0o600)
        return file

    def is_boxed(self, kind: str) -> bool:
        return self._sandbox is not None and kind in MODEL_CODE_KINDS

    def _box(
        self, request: ServiceRequest, spec_file: Path, environment: dict[str, str]
    ) -> AbstractContextManager[Box]:
        """The program and its only argument, which tells where its spec is; in a box where it runs model code."""
        python = request.python or sys.executable
        if self._sandbox is None or not self.is_boxed(request.kind):
            return contextlib.nullcontext(Box([python, "-m", request.module, str(spec_file)]))
        spec = f"{BOX_FOLDER}/spec"
        mounts = {spec: spec_file, f"{BOX_FOLDER}/{DOORS}": self._run / DOORS}
        if request.direct_folder is not None:
            mounts[f"{BOX_FOLDER}/{DIRECT}"] = request.direct_folder
        seen = BoxRequest(
            environment=environment, python=python, reads=request.reads, gpus=[gpu.name for gpu in request.gpus],
            mounts=mounts, network=self._has_network,
            group=request.service_id, limits=self._group_limits,
        )  # fmt: skip
        return self._sandbox.box([python, "-m", request.module, spec], seen)

    @staticmethod
    def _started(handle: _Handle, address: Address | None) -> StartedService:
        return StartedService(handle=msgspec.json.encode(handle).decode(), address=address)

    def _allocate(self, request: ServiceRequest) -> Address:
        host, last = self._listen_host, request.last_port
        if last is not None and is_free(last, host):
            return Address(host, last)
        with self._lock:
            if self._listen_ports is not None:
                port = self._first_free(host, *self._listen_ports)
                self._given_ports = [*self._given_ports[-_PORTS_REMEMBERED:], port]
                return Address(host, port)
            port = any_free_port(host)
            # The kernel may offer again what another service has been told, and does not listen on yet.
            for _ in range(_PORT_TRIES):
                if port not in self._given_ports:
                    break
                port = any_free_port(host)
            self._given_ports = [*self._given_ports[-_PORTS_REMEMBERED:], port]
        return Address(host, port)

    def _first_free(self, host: str, first: int, last: int) -> int:
        """The first one that is free, and was not given lately if there is such a one."""
        free = [port for port in range(first, last + 1) if is_free(port, host)]
        if not free:
            raise ContainerError(
                f"All ports from {first} to {last} are in use (predictor.ports in rafiki.yaml): widen the range, or "
                "stop a deployment."
            )
        return next((port for port in free if port not in self._given_ports), free[0])

    def _environment(self, request: ServiceRequest, address: Address | None) -> dict[str, str]:
        base = self._model_environment if request.runs_model_code else dict(os.environ)
        if self._sandbox is not None and self.is_boxed(request.kind):
            base = self._sandbox.environment(base)
        return {
            **base,
            STACK_VARIABLE: str(self._stack_root),
            STACK_ID_VARIABLE: self._stack_id,
            SERVICE_VARIABLE: request.service_id,
            "CUDA_VISIBLE_DEVICES": ",".join(gpu.name for gpu in request.gpus) or "-1",
            "PYTHONUNBUFFERED": "1",
            **({MODEL_CODE_VARIABLE: "1"} if request.runs_model_code else {}),
            **({ADDRESS_VARIABLE: f"{address.host} {address.port}"} if address else {}),
            **(self._threads(request, base)),
            **(self._of_python(request.python, base) if request.python else {}),
        }

    @staticmethod
    def _of_python(python: str, base: dict[str, str]) -> dict[str, str]:
        """What an activated virtual environment sets: programs that come with packages are found."""
        folder = Path(python).parent
        path = os.pathsep.join([str(folder), *filter(None, [base.get("PATH")])])
        return {"VIRTUAL_ENV": str(folder.parent), "PATH": path}

    @staticmethod
    def _threads(request: ServiceRequest, base: dict[str, str]) -> dict[str, str]:
        """How many threads numeric libraries start in a service."""
        # An advisor does small linear algebra only, and must not compete with the workers.
        cores = count_cores()
        if not request.runs_model_code:
            return dict.fromkeys(THREAD_VARIABLES, "1")
        return threads_of_worker(base, max(1, cores // request.sharing))

    @staticmethod
    def _limit_memory(pid: int, limit_bytes: int) -> None:
        import resource

        most = limit_bytes + _MEMORY_HEADROOM_BYTES
        with contextlib.suppress(ProcessLookupError, AttributeError):
            resource.prlimit(pid, resource.RLIMIT_DATA, (most, most))

    def _spec_file(self, service_id: str) -> Path:
        return self._run / f"{service_id}.spec"

    # ---- watch

    def find(self, service_id: str) -> StartedService | None:
        found = find_stack_processes(self._stack_root, service_id=service_id)
        # The service leads its session and was started with its spec; whatever else carries its id was started by it.
        spec_file = str(self._spec_file(service_id))
        for p in found:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getsid(p.pid) == p.pid and spec_file in p.cmdline():
                    logs = sorted(self._logs.glob(f"*-{service_id}.log"))
                    handle = _Handle(p.pid, p.create_time(), logs[0].name if logs else "")
                    return self._started(handle, _address_of(p))
        return None

    def poll(self, service_id: str, handle: str) -> ServiceExit | None:
        child = self._children.get(service_id)
        code: int | None = None
        if child is not None:
            status = child.poll()
            if status is None:
                self._hold_to_limit(service_id, child.pid)
                return None
            code = exit_code_of(status)
        elif (process := self._find_process(handle)) is not None:
            self._ends.watch(process.pid)
            self._hold_to_limit(service_id, process.pid)
            return None
        self._spec_file(service_id).unlink(missing_ok=True)
        self._note_excess(service_id, code)
        return ServiceExit(code=code, reason=self._describe(service_id, handle, code))

    def on_end(self, listener: Callable[[], None]) -> None:
        self._ends.on_end(listener)

    def _hold_to_limit(self, service_id: str, pid: int) -> None:
        """Kill a worker that uses more than its limit. Other services are never in the model-code limit's reach."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.environ().get(MODEL_CODE_VARIABLE) != "1":
                return
            used = self._tree.usage_of(pid)
            if self._memory_limit_bytes is not None and used.memory_bytes > self._memory_limit_bytes:
                self._over_limit[service_id] = (
                    f"it used {used.memory_bytes >> 20} MB of memory, more than its limit of "
                    f"{self._memory_limit_bytes >> 20} MB (container.memory_limit_mb in rafiki.yaml)"
                )
            elif used.n_processes > self._most_processes:
                self._over_limit[service_id] = (
                    f"it ran {used.n_processes} processes and threads, more than its limit of {self._most_processes} "
                    "(container.max_processes in rafiki.yaml)"
                )
            else:
                return
            os.killpg(pid, signal.SIGKILL)

    def _note_excess(self, service_id: str, code: int | None) -> None:
        """Keep what the kernel refused the service's box, and let its groups go."""
        if self._sandbox is None:
            return
        found, limits = self._sandbox.excess_of(service_id), self._group_limits
        if found.memory and code == -signal.SIGKILL and limits.memory_bytes is not None:
            self._over_limit[service_id] = (
                f"it used more than its limit of {limits.memory_bytes >> 20} MB of memory, all its processes together "
                "(container.memory_limit_mb in rafiki.yaml)"
            )
        elif found.processes and code:
            self._over_limit[service_id] = (
                f"it wanted more processes and threads than its limit of {limits.n_processes} "
                "(container.max_processes in rafiki.yaml)"
            )
        self._sandbox.release(service_id)

    def _describe(self, service_id: str, handle: str, code: int | None) -> str:
        if (reason := self._over_limit.get(service_id)) is not None:
            return reason
        how = "it ended while the admin was away" if code is None else endings.in_words(code)
        known = read_handle(handle, _Handle)
        return how if code == 0 else endings.with_last_words(how, self._logs / ((known and known.log) or "?"))

    def usage(self, service_id: str, handle: str) -> ServiceUsage:
        with contextlib.suppress(psutil.Error):
            if p := self._find_process(handle):
                return ServiceUsage(pid=first_of(p).pid, memory_bytes=self._tree.usage_of(p.pid).memory_bytes)
        return ServiceUsage(pid=None, memory_bytes=None)

    # ---- stop

    def stop(self, service_id: str, handle: str, timeout_s: float) -> None:
        child = self._children.get(service_id)
        known = read_handle(handle, _Handle)
        if known is not None and self.poll(service_id, handle) is None:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                first_of(psutil.Process(known.pid)).terminate()
            wait_until(lambda: self.poll(service_id, handle) is not None, Deadline(timeout_s))
        # Whatever is left of the group, and whatever left the group but still carries the service's id.
        if known is not None and (child is not None or self._find_process(handle) is not None):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(known.pid, signal.SIGKILL)
        wait_until(lambda: self._kill_rest(service_id), Deadline(_KILL_TIMEOUT_S))
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_KILL_TIMEOUT_S)
        self._spec_file(service_id).unlink(missing_ok=True)
        if self._sandbox is not None:
            self._sandbox.release(service_id)

    def _kill_rest(self, service_id: str) -> bool:
        """Whether nothing that carries the service's id runs any more; what does is killed."""
        left = find_stack_processes(self._stack_root, service_id=service_id)
        for p in left:
            with contextlib.suppress(psutil.Error):
                p.kill()
        return not left

    def _find_process(self, handle: str) -> psutil.Process | None:
        """The process of a service if it runs, and is this stack's: a database that was copied names another's."""
        known = read_handle(handle, _Handle)
        process = None if known is None else known.process()
        if process is None:
            return None
        serves = stack_of_process(process.pid)
        return process if serves is None or is_same_folder(serves, self._stack_root) else None

    def gpus(self) -> list[Gpu]:
        if self._found_gpus is None and self._gpu_indices is None:
            self._found_gpus = find_gpus()
        return [facts.gpu for facts in self._gpu_facts()]

    def _gpu_facts(self) -> list[GpuFacts]:
        """Of those that are to be shared out: those of the setting, else those that were found."""
        found = {gpu.name: gpu for gpu in self._found_gpus or []}
        names = list(found) if self._gpu_indices is None else [str(index) for index in self._gpu_indices]
        return [
            GpuFacts(
                gpu=Gpu(LOCAL_HOST, name), model=found[name].model if name in found else None,
                memory_bytes=found[name].memory_bytes if name in found else None,
            )
            for name in names
        ]  # fmt: skip

    def hosts(self) -> list[Host]:
        return [
            Host(
                name=LOCAL_HOST, is_engine=True, gpus=self._gpu_facts(), cores=float(count_cores()),
                memory_bytes=psutil.virtual_memory().total,
                free_disk_bytes=shutil.disk_usage(self._run).free,
            )
        ]  # fmt: skip

    def look_at_hosts(self, timeout_s: float) -> list[Host]:
        if timeout_s > 0:
            self._found_gpus = find_gpus()
        return self.hosts()

    def close(self) -> None:
        self._children.clear()


def _address_of(process: psutil.Process) -> Address | None:
    host, _, port = process.environ().get(ADDRESS_VARIABLE, "").rpartition(" ")
    return Address(host, int(port)) if port.isdecimal() else None


PROCESS = ContainerBackend(about="processes of this machine", open=ProcessContainerManager)
