"""The process that makes, checks and restores backups for the command line, which opens no database itself.

A request comes on stdin, lines of JSON go to stdout; see :mod:`rafiki.backup_report`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import msgspec

from rafiki.backup.archive import Archive
from rafiki.backup.manifest import describe
from rafiki.backup.restore import restore_backup
from rafiki.backup.write import write_backup
from rafiki.backup_report import BackupProgress, BackupReport, BackupRequest, RestoreReport
from rafiki.config import load_config
from rafiki.constants import ExitCode
from rafiki.errors import DamagedFileError, RafikiError
from rafiki.stack_folder import StackFolder
from rafiki.utils.paths import why
from rafiki.utils.request_process import read_request

_TELL_EACH_S = 0.2


def answer(request: BackupRequest) -> BackupReport | RestoreReport:
    """Do what is asked for.

    Raises:
        RafikiError: what kept it from that.
    """
    file, progress = Path(request.file), _Progress()
    if request.what == "check":
        return _check(file, progress)
    folder = StackFolder(load_config())
    if request.what == "write":
        return write_backup(
            folder, file, has_stores=request.has_stores, is_replacing=request.is_replacing, progress=progress
        )
    return restore_backup(folder, file, is_replacing=request.is_replacing, progress=progress)


def _check(file: Path, progress: _Progress) -> BackupReport:
    try:
        with Archive(file) as archive:
            archive.refuse_newer_form()
            return describe(str(file), archive.size_bytes, archive.manifest, archive.find_faults(progress))
    except DamagedFileError as e:
        return BackupReport(file=str(file), size_bytes=file.stat().st_size, faults=[e.message])


class _Progress:
    """Tells how far it is, a few times a second."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_EACH_S or done >= total:
            self._told = now
            _put(BackupProgress(done=done, total=total))


def _put(line: BackupProgress) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def _end(_signal: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    # What was begun is taken back then.
    signal.signal(signal.SIGTERM, _end)
    try:
        report = answer(read_request(BackupRequest))
        if isinstance(report, BackupReport):
            _put(BackupProgress(backup=report))
        else:
            _put(BackupProgress(restored=report))
    except RafikiError as e:
        sys.stderr.write(f"error: {e.message}\n")
        return e.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # The command line is gone.
        return ExitCode.FAILURE
    except OSError as e:
        sys.stderr.write(f"error: {f'{e.filename}: ' if isinstance(e.filename, str) else ''}{why(e)}.\n")
        return ExitCode.FAILURE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
