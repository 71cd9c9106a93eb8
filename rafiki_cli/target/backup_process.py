"""The process that makes, checks and restores backups, and what it says while it is at work."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from rafiki.backup_report import BackupProgress, BackupReport, BackupRequest, RestoreReport
from rafiki.constants import ExitCode
from rafiki.errors import RafikiError
from rafiki_cli.render import progress
from rafiki_cli.target import stack_process

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig
    from rafiki.stack_folder import StackFolder

_END_TIMEOUT_S = 30.0
Report = TypeVar("Report", BackupReport, RestoreReport)


class BackupFailedError(RafikiError):
    """The process has ended without a report."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = ExitCode(code) if code in ExitCode.__members__.values() else ExitCode.FAILURE


def run(what: str, request: BackupRequest, kind: type[Report], loaded: LoadedConfig, folder: StackFolder) -> Report:
    """The report of the process.

    Args:
        what: for people who watch: ``"Saving the stack"``.
        request: what it is asked for.
        kind: of the report.
        loaded, folder: of the stack that it is about.

    Raises:
        BackupFailedError: with the reason and the exit code of the process.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "rafiki.backup"], cwd=loaded.base_folder,
        env=stack_process.admin_environment(loaded, folder, None),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said: list[bytes] = []
    assert process.stdin
    assert process.stdout
    errors = process.stderr
    assert errors
    reader = threading.Thread(target=lambda: said.append(errors.read()), name="backup errors", daemon=True)
    reader.start()
    report: BackupReport | RestoreReport | None = None
    try:
        with process.stdin as stdin:
            stdin.write(msgspec.json.encode(request))
        with progress.transfer(what) as show:
            for line in process.stdout:
                told = msgspec.json.decode(line, type=BackupProgress)
                report = told.backup or told.restored or report
                if show is not None and told.total:
                    show(told.done, told.total)
        code = process.wait()
    finally:
        # It takes back what it has begun.
        process.terminate()
        process.wait(_END_TIMEOUT_S)
        reader.join(_END_TIMEOUT_S)
    if code != ExitCode.OK or not isinstance(report, kind):
        lines = [line for line in b"".join(said).decode("utf-8", "replace").splitlines() if line.strip()]
        last = next((x for x in reversed(lines) if x.startswith("error:")), lines[-1] if lines else "It said nothing.")
        raise BackupFailedError(last.removeprefix("error:").strip(), code)
    return report


def absolute(file: Path) -> str:
    """The path that the process is given, which works in another folder."""
    return str(file.expanduser().absolute())
