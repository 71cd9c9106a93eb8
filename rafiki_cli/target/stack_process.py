"""Starts and stops the admin process of a stack, and sees how it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

import rafiki
from rafiki.client.trust import Trust, of_running
from rafiki.constants import ExitCode
from rafiki.errors import StackError
from rafiki.moved_stack import find_left_behind
from rafiki.utils.clock import Deadline
from rafiki.utils.pid_file import HAND_OVER_SIGNAL, STACK_VARIABLE, ProcessHandle, stack_of_process
from rafiki.utils.process import end_processes, find_stack_processes, wait_until
from rafiki.utils.urls import http_url
from rafiki.utils.values import JsonObject
from rafiki_cli.target.health import health
from rafiki_cli.target.local_stack import reachable_host

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig
    from rafiki.stack_folder import StackFolder

STOP_TIMEOUT_S = 90.0
"""The longest that an admin takes to end: predictors first answer what they have in hand, up to a minute."""
_SWEEP_TIMEOUT_S = 120.0
_SETTLE_TIMEOUT_S = 5.0
_LEAVE_TIMEOUT_S = 10.0


class AdminEndedError(StackError):
    """The admin ended while it started."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        known = code in ExitCode.__members__.values()
        self.exit_code = ExitCode(code) if known and code else ExitCode.FAILURE


OnFailure = Callable[["subprocess.Popen[bytes]"], str | None]
"""Ends an admin that is not healthy; may say what became of the rest."""


class Started(NamedTuple):
    """What :func:`start` did."""

    host: str
    port: int
    pid: int
    is_new: bool
    trust: Trust | None = None
    """Whose certificate it shows."""
    warnings: tuple[str, ...] = ()
    """What a new one has said of its settings when it started."""

    @property
    def url(self) -> str:
        return http_url(f"{self.host}:{self.port}")


def find_running(folder: StackFolder) -> Started | None:
    """The stack's admin if it runs."""
    found = folder.find_admin()
    if found is None:
        return None
    host, trust = of_running(found, reachable_host(found.host))
    return Started(host, found.port, found.process.pid, False, trust)


def check_port(host: str, port: int) -> None:
    """Raise a StackError when another program listens on the port."""
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(kind, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError as e:
            owner = find_listener(port)
            raise StackError(
                f"The admin cannot listen on {host}:{port}: {e.strerror}{f', by {owner}' if owner else ''}. Leave "
                "admin.port out of rafiki.yaml, and a free port is found; or choose another with admin.port, or with "
                "`rafiki up --port PORT`."
            ) from e


def _find_listening(port: int) -> psutil.Process | None:
    """The process that listens on a port of this machine; None when there is none that this user may see."""
    with contextlib.suppress(psutil.Error, OSError):
        for c in psutil.net_connections("tcp"):
            if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port and c.pid:
                return psutil.Process(c.pid)
    return None


def find_listener(port: int) -> str | None:
    """Who listens on a port, for people: ``the stack in /home/ada/wine/.rafiki``, ``process 123 (nginx)``; None when it
    cannot be told."""
    if (process := _find_listening(port)) is None:
        return None
    if root := stack_of_process(process.pid):
        return f"the stack in {root}"
    with contextlib.suppress(psutil.Error):
        return f"process {process.pid} ({process.name()})"
    return None


def find_stack_of(port: int) -> Path | None:
    """The stack folder of the admin that listens on a port; None when its process is not ours to look into."""
    process = _find_listening(port)
    root = stack_of_process(process.pid) if process is not None else None
    return Path(root) if root else None


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
def start_lock(folder: StackFolder, timeout_s: float) -> Iterator[None]:
    """One `rafiki up` of a stack at a time; the kernel frees the lock of a killed one."""
    with folder.up_lock_file.open("w") as f:

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
    with start_lock(folder, loaded.config.stack.start_timeout_s):
        wait_until(lambda: _is_settled(folder), Deadline(_SETTLE_TIMEOUT_S))
        if running := find_running(folder):
            return running
        folder.admin_pid_file.unlink(missing_ok=True)
        if loaded.config.admin.port:
            check_port(loaded.config.admin.host, loaded.config.admin.port)
        runs_already = bool(find_stack_processes(folder.root)) or folder.find_cache() is not None
        return launch(loaded, folder, port=port, on_failure=_leave_services if runs_already else _stop_all(folder))


def _leave_services(admin: subprocess.Popen[bytes]) -> str:
    """End an admin that cannot do its work; what an admin before it has started is not its to end."""
    admin.send_signal(HAND_OVER_SIGNAL)
    if not wait_until(lambda: admin.poll() is not None, Deadline(_LEAVE_TIMEOUT_S)):
        admin.kill()
        admin.wait()
    return "What ran before goes on: `rafiki up` takes it over when the cause is mended, `rafiki down` ends it."


def _stop_all(folder: StackFolder) -> OnFailure:
    def end(_: subprocess.Popen[bytes]) -> None:
        stop(folder)

    return end


def _is_settled(folder: StackFolder) -> bool:
    """Whether the admin answers or is gone: one that ends at this moment does neither."""
    running = find_running(folder)
    return running is None or health(running.host, running.port, trust=running.trust) is not None


def launch(loaded: LoadedConfig, folder: StackFolder, *, port: int | None, on_failure: OnFailure) -> Started:
    """Start the admin and wait until it is healthy; the caller holds :func:`start_lock`.

    Args:
        port: what ``--port`` said, for this start only.
        on_failure: given the admin that is not healthy in time, ends what it has begun.

    Raises:
        StackError, AdminEndedError: as :func:`start`.
    """
    log = folder.logs / "admin.log"
    with log.open("ab") as f:
        offset = f.tell()
        process = subprocess.Popen(
            admin_command(), cwd=loaded.base_folder, env=admin_environment(loaded, folder, port),
            stdin=subprocess.DEVNULL, stdout=f, stderr=f, start_new_session=True,
        )  # fmt: skip
    return _wait_healthy(process, folder, log, offset, loaded.config.stack.start_timeout_s, on_failure)


def _wait_healthy(
    process: subprocess.Popen[bytes],
    folder: StackFolder,
    log: Path,
    offset: int,
    timeout_s: float,
    on_failure: OnFailure,
) -> Started:
    last: JsonObject | None = None

    def is_settled() -> bool:
        nonlocal last
        if process.poll() is not None:
            return True
        running = find_running(folder)
        last = health(running.host, running.port, trust=running.trust) if running else None
        return bool(last) and last["status"] == "ok"  # type: ignore[index]

    try:
        is_in_time = wait_until(is_settled, Deadline(timeout_s))
    except KeyboardInterrupt:
        on_failure(process)
        raise
    if (code := process.poll()) is not None:
        raise AdminEndedError(_last_error(log, offset, code), code)
    running = find_running(folder)
    if not is_in_time or running is None:
        left = on_failure(process)
        reason = f"it says: {last['status']}" if last else "it does not answer"
        raise StackError(
            f"The admin was not healthy after {timeout_s:g} s ({reason}), so it was stopped. "
            f"{f'{left} ' if left else ''}See {log}, or allow more time with stack.start_timeout_s in rafiki.yaml."
        )
    return running._replace(is_new=True, warnings=_warnings(log, offset))


def _messages(log: Path, offset: int) -> list[str]:
    from rafiki.utils.logs import message_of

    with log.open("rb") as f:
        f.seek(offset)
        return [message_of(line) for line in f.read().decode("utf-8", "replace").splitlines()]


def _warnings(log: Path, offset: int) -> tuple[str, ...]:
    """Without those that tell how the stack does at the moment."""
    found = [line.removeprefix("warning: ") for line in _messages(log, offset) if line.startswith("warning: ")]
    return tuple(dict.fromkeys(w for w in found if not w.startswith(("health:", "supervisor:"))))


def _last_error(log: Path, offset: int, code: int) -> str:
    lines = _messages(log, offset)
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
    running, cache = folder.find_admin(), folder.find_cache()
    left_behind = find_left_behind(folder)
    before = {p.pid for p in [*find_stack_processes(folder.root), *left_behind]}
    if cache is not None:
        # Named by its pid file: the server writes its title over the environment that others are found by.
        before.add(cache.process.pid)
    admin_pid = running.process.pid if running else None
    if running is not None:
        _end(running.process, timeout_s)
    end_processes([*find_stack_processes(folder.root), *left_behind], 5.0)
    if cache is not None:
        _end(cache.process, 5.0)
    for file in (folder.admin_pid_file, folder.cache_pid_file):
        file.unlink(missing_ok=True)
    return Stopped(admin_pid, len(before - {admin_pid}))


def sweep(loaded: LoadedConfig, folder: StackFolder) -> str | None:
    """Take away what a killed admin has left on other hosts; why that cannot be done, None when all is well."""
    if loaded.config.container.backend == "process":
        return None
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "rafiki.container.sweep"], env=admin_environment(loaded, folder, None),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_SWEEP_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"The back end {loaded.config.container.backend} has not answered within {_SWEEP_TIMEOUT_S:g} s."
    return None if done.returncode == 0 else done.stderr.strip().removeprefix("error:").strip()


def hand_over(folder: StackFolder, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End the admin, and leave the cache and the services of jobs running: the next admin goes on with them."""
    if (running := folder.find_admin()) is not None:
        _end(running.process, timeout_s, first=HAND_OVER_SIGNAL)


def _end(handle: ProcessHandle, timeout_s: float, *, first: signal.Signals = signal.SIGTERM) -> None:
    """SIGTERM (or another signal), then SIGKILL. A zombie that nobody has reaped yet counts as gone."""
    for signal_no in (first, signal.SIGKILL):
        if (process := handle.process()) is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal_no)
        wait_until(lambda: not handle.is_alive(), Deadline(timeout_s))
