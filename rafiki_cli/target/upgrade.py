"""An admin of another version runs: what a restart would do, and doing it.

The services of jobs are processes of their own. They go on while one admin ends and the next one starts, which adopts
them.
"""

from __future__ import annotations

import json
import subprocess
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from rafiki import __version__
from rafiki.constants import ExitCode
from rafiki.errors import StackError
from rafiki_cli.target import stack_process
from rafiki_cli.target.health import health

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig
    from rafiki.stack_folder import StackFolder
    from rafiki_cli.target.stack_process import Started

_PREFLIGHT_TIMEOUT_S = 60.0


class Age(StrEnum):
    """The running admin's version beside this one."""

    SAME = "same"
    OLDER = "older"
    NEWER = "newer"


class RefusedRestartError(StackError):
    """An admin of this version could not take the place of the one that runs, which was left alone."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(code) if code in ExitCode.__members__.values() else ExitCode.FAILURE


class Preview(NamedTuple):
    """What a restart would do."""

    migrates: bool
    """Whether the database is brought to tables that the running version does not know."""


def find_version(running: Started) -> str | None:
    """The version of the running admin, as it says; None when it does not answer."""
    answer = health(running.host, running.port, trust=running.trust)
    return str(answer.get("version")) if answer else None


def compare(version: str) -> Age:
    """How old an admin of ``version`` is beside this command line."""
    if version == __version__:
        return Age.SAME
    from packaging.version import InvalidVersion, Version

    try:
        return Age.OLDER if Version(version) < Version(__version__) else Age.NEWER
    except InvalidVersion:
        return Age.OLDER


def preview(loaded: LoadedConfig, folder: StackFolder) -> Preview:
    """What an admin of this version would do at its start. Nothing is changed.

    Raises:
        RefusedRestartError: it could not start, with its own reason.
    """
    command = [*stack_process.admin_command()[:-1], "rafiki.admin.preflight"]
    try:
        asked = subprocess.run(
            command, cwd=loaded.base_folder, env=stack_process.admin_environment(loaded, folder, None),
            capture_output=True, text=True, timeout=_PREFLIGHT_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as e:
        raise RefusedRestartError(f"The look at the database took longer than {e.timeout:g} s.", 1) from e
    if asked.returncode != 0:
        lines = [line for line in asked.stderr.splitlines() if line.strip()]
        last = next((x for x in reversed(lines) if x.startswith("error:")), lines[-1] if lines else "it said nothing")
        raise RefusedRestartError(
            f"{last.removeprefix('error:').strip()} The admin that runs was left alone.", asked.returncode
        )
    return Preview(migrates=bool(json.loads(asked.stdout)["migrates"]))


def restart(loaded: LoadedConfig, folder: StackFolder, *, port: int | None) -> Started:
    """Put an admin of this version in the place of the one that runs, at the same address.

    Args:
        port: what ``--port`` said.

    Raises:
        RefusedRestartError: it could not start; nothing was changed.
        StackError: it did not become healthy. The services of jobs go on without an admin.
    """
    preview(loaded, folder)
    with stack_process.start_lock(folder, loaded.config.stack.start_timeout_s):
        running = stack_process.find_running(folder)
        if port is None and running is not None:
            port = _port_to_keep(loaded, folder, running.port)
        stack_process.hand_over(folder)
        folder.admin_pid_file.unlink(missing_ok=True)
        try:
            # Killed, it leaves the services alone.
            return stack_process.launch(loaded, folder, port=port, on_failure=subprocess.Popen.kill)
        except StackError as e:
            e.message += " The services of jobs go on without an admin; `rafiki up` starts one."
            raise


def _port_to_keep(loaded: LoadedConfig, folder: StackFolder, port: int) -> int | None:
    """The running admin's port, where its successor would take another one by itself: it came from ``--port``."""
    from rafiki.settings import DEFAULT_ADMIN_PORT

    configured = loaded.config.admin.port
    by_itself = (folder.kept_admin_port or DEFAULT_ADMIN_PORT) if configured is None else configured
    return None if port == by_itself else port
