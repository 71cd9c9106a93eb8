"""Starts and stops the admin process of a stack, and sees how it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

import rafiki
from rafiki.constants import ExitCode
from rafiki.errors import StackError
from rafiki.utils.clock import Deadline
from rafiki.utils.pid_file import PidFile, ProcessHandle
from rafiki.utils.process import STACK_VARIABLE, end_processes, find_stack_processes, wait_until
from rafiki.utils.values import JsonObject
from rafiki_cli.target.health import health
from rafiki_cli.target.session import reachable_host

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig
    from rafiki.stack_folder import StackFolder

STOP_TIMEOUT_S = 20.0


class AdminEndedError(StackError):
    """The admin ended while it started."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        known = code in ExitCode.__members__.values()
        self.exit_code = ExitCode(code) if known and code else ExitCode.FAILURE


class Started(NamedTuple):
    """What :func:`start` did."""

    host: str
    port: int
    pid: int
    is_new: bool

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


def find_running(folder: StackFolder) -> Started | None:
    """The stack's admin if it runs."""
    found = PidFile.load(folder.admin_pid_file)
    return Started(reachable_host(found.host), found.port, found.process.pid, False) if found else None


def check_port(host: str, port: int) -> None:
    """Raise a StackError when another program listens on the port."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError as e:
            raise StackError(
                f"The admin cannot listen on {host}:{port}: {e.strerror}{_owner(port)}. Choose another port with "
                "admin.port in rafiki.yaml, or with `rafiki up --port PORT`."
            ) from e


def _owner(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for c in psutil.net_connections("tcp"):
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port and c.pid:
                return f" (by process {c.pid}, {psutil.Process(c.pid).name()})"
    return ""


def find_stack_of(port: int) -> Path | None:
    """The stack folder of the admin that listens on a port; None when its process is not ours to look into."""
    with contextlib.suppress(psutil.Error, OSError):
        for c in psutil.net_connections("tcp"):
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port and c.pid:
                root = psutil.Process(c.pid).environ().get(STACK_VARIABLE)
                return Path(root) if root else None
    return None


def create_folder(loaded: LoadedConfig) -> StackFolder:
    """The stack's folder, made unless it is there; not made for an admin whose port is taken anyway.

    Raises:
        StackError: when it cannot be made, or is new and the port is taken.
    """
    from rafiki.stack_folder import StackFolder

    folder = StackFolder(loaded)
    if loaded.config.admin.port and not folder.root.exists():
        check_port(loaded.config.admin.host, loaded.config.admin.port)
    folder.create()
    return folder


def admin_command() -> list[str]:
    # -P: modules in the folder of rafiki.yaml must not hide installed ones.
    return [sys.executable, "-P", "-m", "rafiki.admin"]


def admin_environment(loaded: LoadedConfig, folder: StackFolder, port: int | None) -> dict[str, str]:
    """This process's environment with what tells the admin which stack it serves."""
    environment = {**os.environ, STACK_VARIABLE: str(folder.root)}
    # glibc keeps memory apart for each thread that ever allocated: 20 MB of the admin's 100 without a bound.
    environment.setdefault("MALLOC_ARENA_MAX", "2")
    if loaded.file:
        environment["RAFIKI_CONFIG"] = str(loaded.file)
    if port is not None:
        environment["RAFIKI_ADMIN__PORT"] = str(port)
    source = Path(rafiki.__file__).resolve().parent.parent
    if source.name not in ("site-packages", "dist-packages"):
        # A checkout that is not installed is found from any folder too.
        environment["PYTHONPATH"] = os.pathsep.join([str(source), *filter(None, [environment.get("PYTHONPATH")])])
    return environment


@contextlib.contextmanager
def _start_lock(folder: StackFolder, timeout_s: float) -> Iterator[None]:
    """One `rafiki up` of a stack at a time; the kernel frees the lock of a killed one."""
    with (folder.run / "up.lock").open("w") as f:

        def is_taken() -> bool:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not wait_until(is_taken, Deadline(timeout_s)):
            raise StackError(
                f"Another `rafiki up` of {folder.root} has been at work for {timeout_s:g} s. End it first."
            )
        yield


def start(loaded: LoadedConfig, *, port: int | None = None) -> Started:
    """Start the admin in the background and wait until it is healthy; an admin that runs already is left alone.

    Args:
        port: what ``--port`` said, for this start only.

    Raises:
        StackError: when the port is taken or the admin is not healthy within ``stack.start_timeout_s``.
        AdminEndedError: when it ended, with its own message and exit code.
    """
    folder = create_folder(loaded)
    timeout_s = loaded.config.stack.start_timeout_s
    with _start_lock(folder, timeout_s):
        if running := find_running(folder):
            return running
        folder.admin_pid_file.unlink(missing_ok=True)
        if loaded.config.admin.port:
            check_port(loaded.config.admin.host, loaded.config.admin.port)
        log = folder.logs / "admin.log"
        with log.open("ab") as f:
            offset = f.tell()
            process = subprocess.Popen(
                admin_command(), cwd=loaded.base_folder, env=admin_environment(loaded, folder, port),
                stdin=subprocess.DEVNULL, stdout=f, stderr=f, start_new_session=True,
            )  # fmt: skip
        return _wait_healthy(process, folder, log, offset, timeout_s)


def _wait_healthy(
    process: subprocess.Popen[bytes], folder: StackFolder, log: Path, offset: int, timeout_s: float
) -> Started:
    last: JsonObject | None = None

    def is_settled() -> bool:
        nonlocal last
        if process.poll() is not None:
            return True
        running = find_running(folder)
        last = health(running.host, running.port) if running else None
        return bool(last) and last["status"] == "ok"  # type: ignore[index]

    try:
        is_in_time = wait_until(is_settled, Deadline(timeout_s))
    except KeyboardInterrupt:
        stop(folder)
        raise
    if (code := process.poll()) is not None:
        raise AdminEndedError(_last_error(log, offset, code), code)
    running = find_running(folder)
    if not is_in_time or running is None:
        stop(folder)
        reason = f"it says: {last['status']}" if last else "it does not answer"
        raise StackError(
            f"The admin was not healthy after {timeout_s:g} s ({reason}), so it was stopped. See {log}, or allow "
            "more time with stack.start_timeout_s in rafiki.yaml."
        )
    return running._replace(is_new=True)


def _last_error(log: Path, offset: int, code: int) -> str:
    from rafiki.utils.logs import message_of

    with log.open("rb") as f:
        f.seek(offset)
        lines = [message_of(line) for line in f.read().decode("utf-8", "replace").splitlines()]
    errors = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    if errors:
        return errors[-1]
    return f"The admin ended with exit code {code}: {lines[-1] if lines else 'it said nothing'}. See {log}."


class Stopped(NamedTuple):
    """What :func:`stop` ended."""

    admin_pid: int | None
    others: int
    """Other processes of the stack: the cache and the services of jobs."""


def stop(folder: StackFolder, timeout_s: float = STOP_TIMEOUT_S) -> Stopped:
    """Stop the admin, which stops the stack's other processes, then end whatever is left of the stack."""
    running, cache = PidFile.load(folder.admin_pid_file), PidFile.load(folder.cache_pid_file)
    before = {p.pid for p in find_stack_processes(folder.root)}
    if cache is not None:
        # Named by its pid file: the server writes its title over the environment that others are found by.
        before.add(cache.process.pid)
    admin_pid = running.process.pid if running else None
    if running is not None:
        _end(running.process, timeout_s)
    end_processes(find_stack_processes(folder.root), 5.0)
    if cache is not None:
        _end(cache.process, 5.0)
    for file in (folder.admin_pid_file, folder.cache_pid_file):
        file.unlink(missing_ok=True)
    return Stopped(admin_pid, len(before - {admin_pid}))


def _end(handle: ProcessHandle, timeout_s: float) -> None:
    """SIGTERM, then SIGKILL. A zombie that nobody has reaped yet counts as gone."""
    for end in (psutil.Process.terminate, psutil.Process.kill):
        if (process := handle.process()) is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            end(process)
        wait_until(lambda: not handle.is_alive(), Deadline(timeout_s))
