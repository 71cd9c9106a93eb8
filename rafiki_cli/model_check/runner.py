"""Runs the check of a model in a process of its own, and tells of it as events, whatever the model does."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

import msgspec

from rafiki.check_events import CheckEvent, CheckFailed, CheckPassed, CheckRequest, StepBegun, decode_event
from rafiki.utils.clock import Deadline

TICK_S = 0.25
"""How often a view gets to show how the time passes while nothing happens."""
_MAX_LINE_BYTES = 64 << 20


class CheckProcess:
    """One check. Use as a context: at its end no process is left."""

    def __init__(self, request: CheckRequest, timeout_s: float, *, is_output_shown: bool) -> None:
        """
        Args:
            request: what to check, and on what.
            timeout_s: when the check is ended.
            is_output_shown: what the model prints goes to stderr at once; else :meth:`output_tail` has the end of it.
        """
        self._deadline, self._timeout_s = Deadline(timeout_s), timeout_s
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._step = ""
        # A file and not a pipe: a process that never reads cannot block this one.
        with tempfile.TemporaryFile() as stdin:
            stdin.write(json.dumps(msgspec.structs.asdict(request)).encode())
            stdin.seek(0)
            self._child = subprocess.Popen(
                [sys.executable, "-m", "rafiki.model_check.check_process"],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=None if is_output_shown else self._output,
                start_new_session=True,
            )

    def __enter__(self) -> CheckProcess:
        return self

    def __exit__(self, *_: object) -> None:
        # The whole group: the model may have started processes of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._output.close()

    def events(self) -> Iterator[CheckEvent | None]:
        """What happens, as :mod:`rafiki.check_events` tells it; None when nothing did for a moment.

        The last event says that the model passed or failed, also when the process dies or takes too long.
        """
        for line in self._lines():
            if line is None:
                yield None
                continue
            event = decode_event(line)
            if isinstance(event, StepBegun):
                self._step = event.name
            yield event
            if isinstance(event, CheckPassed | CheckFailed):
                return
        yield self._death()

    def output_tail(self, most_lines: int = 12) -> list[str]:
        """The last lines that the model printed."""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - (16 << 10)))
        lines = self._output.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip()][-most_lines:]

    def _lines(self) -> Iterator[bytes | None]:
        stdout = self._child.stdout
        assert stdout is not None
        os.set_blocking(stdout.fileno(), False)
        rest = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            # Processes that the model left behind may hold the other end of the pipe, so the exit is watched too.
            exit_fd = os.pidfd_open(self._child.pid) if hasattr(os, "pidfd_open") else None
            try:
                if exit_fd is not None:
                    selector.register(exit_fd, selectors.EVENT_READ)
                while not self._deadline.is_over():
                    ready = selector.select(min(TICK_S, self._deadline.left_s()))
                    chunk = stdout.read(1 << 16)
                    if chunk:
                        rest += chunk
                        *lines, tail = rest.split(b"\n")
                        rest = bytearray(tail[:_MAX_LINE_BYTES])
                        yield from (bytes(line) for line in lines)
                    elif ready:  # The end of the pipe, or of the process.
                        return
                    else:
                        yield None
            finally:
                if exit_fd is not None:
                    os.close(exit_fd)

    def _death(self) -> CheckFailed:
        where = self._step or "importing Rafiki"
        if self._deadline.is_over():
            reason = f"it was not done within {self._timeout_s:g} s"
            advice = "An endless loop? If it only takes long, raise --timeout, or test with less data."
        else:
            code = self._child.wait()
            if code < 0:
                reason = f"its process died of {signal.Signals(-code).name}"
                advice = "The memory may not do for it." if -code == signal.SIGKILL else "A crash in native code."
            else:
                reason = f"its process ended with exit code {code}"
                advice = "A model must not end its process (os._exit, sys.exit)."
        if where.endswith("()"):
            return CheckFailed(name=self._step, method=where, reason=reason, advice=advice)
        return CheckFailed(name=self._step, method="", reason=f"{reason}, in the step {where!r}", advice=advice)
