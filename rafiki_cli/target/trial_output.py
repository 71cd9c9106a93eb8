"""What a model printed in a trial: it is in the log of the train worker, on the machine of the stack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from rafiki.errors import RafikiError
from rafiki_cli import terminal
from rafiki_cli.target.logs import Log, list_logs

if TYPE_CHECKING:
    from rafiki.contract.train_jobs import TrialView
    from rafiki.utils.trial_output import OutputFinder
    from rafiki_cli.application import Application

_MOST_LINES = 200
_MOST_BYTES = 32 * 1024 * 1024
"""Of a longer log its end is read."""


class Printed(NamedTuple):
    """What was found of it from here."""

    lines: list[str] | None
    """The last ones; None where the log is not here, or does not tell."""
    n_earlier: int
    service: str | None
    """The worker, as `rafiki logs` takes it; None where the trial had none."""
    is_here: bool
    """Whether the worker's log is on this machine."""

    def command(self) -> str:
        """Where to read it, with the very command."""
        if self.service is None:
            return "No worker has begun it."
        where = "" if self.is_here else " on the machine of the stack"
        return f"What it printed is in the log of its worker{where}: `rafiki logs {self.service}`."

    def put(self) -> None:
        """Put it out below what the model logged, or say where it is."""
        if self.lines is None:
            terminal.say(self.command())
        elif not self.lines:
            terminal.say("It printed nothing.")
        else:
            terminal.put("")
            before = f", after {self.n_earlier:,} more lines" if self.n_earlier else ""
            terminal.put(f"printed (`rafiki logs {self.service}`{before}):")
            for line in self.lines:
                terminal.put(line)


def find(cli: Application, trial: TrialView) -> Printed:
    """What a trial printed, where the stack is this folder's; else where it is to be found."""
    if trial.worker_id is None:
        return Printed(None, 0, None, False)
    log = _log_of(cli, trial.worker_id)
    if log is None:
        return Printed(None, 0, trial.worker_id, False)
    from rafiki.utils.files import tail_lines
    from rafiki.utils.trial_output import find_output

    lines = tail_lines(Path(log.path), _MOST_BYTES, max_bytes=_MOST_BYTES)
    output = find_output(lines, trial.no, trial.attempt, _MOST_LINES)
    if output is None:
        return Printed(None, 0, log.name, True)
    return Printed(output.lines, output.n_earlier, log.name, True)


class PrintedLines:
    """What a trial prints, read as it is written, where its worker's log is on this machine."""

    def __init__(self, cli: Application) -> None:
        self._cli = cli
        self._file: BinaryIO | None = None
        self._finder: OutputFinder | None = None
        self._rest = b""

    def begin(self, trial: TrialView) -> str | None:
        """From now on, the present attempt of this trial; where else to read what it prints, when it is not here."""
        from rafiki.utils.trial_output import OutputFinder

        self.close()
        if trial.worker_id is None:
            return None
        log = _log_of(self._cli, trial.worker_id)
        if log is None:
            return f"What it prints is on the machine of the stack: `rafiki logs {trial.worker_id} --follow`."
        try:
            self._file = Path(log.path).open("rb")  # noqa: SIM115 (closed by close)
            self._file.seek(max(0, log.size_bytes - _MOST_BYTES))
        except OSError:
            return None
        self._finder = OutputFinder(trial.no, trial.attempt)
        return None

    def take(self) -> list[str]:
        """The whole lines that are new."""
        if self._file is None or self._finder is None:
            return []
        *whole, self._rest = (self._rest + self._file.read()).split(b"\n")
        lines = [line.decode("utf-8", "replace").removesuffix("\r") for line in whole]
        return [line for line in lines if self._finder.has(line)]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._finder, self._rest = None, None, b""


def worker_name(cli: Application, trial: TrialView) -> str | None:
    """The train worker of a trial: its name where the stack is this folder's, else its id."""
    log = _log_of(cli, trial.worker_id) if trial.worker_id is not None else None
    return f"{log.name} ({trial.worker_id})" if log is not None and log.job_id is not None else trial.worker_id


def _log_of(cli: Application, service_id: str) -> Log | None:
    try:
        if not cli.target().is_local:
            return None
        logs = list_logs(cli.own_stack_folder().logs)
        log = next((log for log in logs if log.service_id == service_id), None)
        if log is not None and any(other.name == log.name for other in logs[logs.index(log) + 1 :]):
            return replace(log, name=service_id)  # Its name means the worker that has its place now.
        return log
    except (RafikiError, OSError):
        return None  # Another user's stack: what can be read of it comes from its admin.
