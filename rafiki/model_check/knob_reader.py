"""Reads the knobs of an uploaded model without importing it here: a throw-away process does."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

import rafiki
from rafiki.constants import LoadFailure
from rafiki.errors import ModelError
from rafiki.knob_specs import KnobSpecs
from rafiki.model.constraints import parse_constraints
from rafiki.model.knobs import from_knob_specs, to_knob_specs
from rafiki.model_check.inspect_model import InspectAnswer, InspectRequest
from rafiki.sandbox.group_limits import Excess, GroupLimits
from rafiki.sandbox.sandbox import Box, BoxRequest, Sandbox, exit_code_of
from rafiki.utils.clock import Deadline

# What the process gets to see of the environment: enough to find Python and its packages, and no secret.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
_MAX_ANSWER_BYTES = 4 << 20
_STDERR_TAIL_BYTES = 4 << 10
_MOST_PROCESSES = 1024
"""With threads, of which libraries start one a core."""


class KnobReading(msgspec.Struct, frozen=True):
    """Either the knobs, in their JSON form, or the reason why there are none."""

    knob_config: KnobSpecs | None = None
    constraints: list[str] = []
    """Expressions over the knobs; see :mod:`rafiki.model.constraints`."""
    error: str | None = None
    failure: LoadFailure | None = None
    """The kind of the reason."""


class _Death(msgspec.Struct, frozen=True):
    """Why the process gave no answer."""

    reason: str
    failure: LoadFailure = LoadFailure.FILE


def read_knob_config(
    model_file_bytes: bytes,
    model_class: str,
    file_name: str = "model.py",
    timeout_s: float = 20.0,
    memory_bytes: int = 8 << 30,
    python: str | None = None,
    sandbox: Sandbox | None = None,
) -> KnobReading:
    """The knobs of ``model_class`` in a model file.

    Whatever the file does (endless loops, ``os._exit``, crashes, floods of output, children left behind) ends within
    ``timeout_s`` and becomes a reading with a reason. Blocks; call it from a thread in async code.

    Args:
        model_file_bytes: the Python source.
        model_class: the name of a class in it.
        file_name: what the reason calls the file.
        timeout_s: how long the import and get_knob_config() may take together.
        memory_bytes: how much private memory they may use.
        python: the interpreter that has the model's packages; None = this one.
        sandbox: makes the box that the file is imported in; None = it sees what this process sees.
    """
    with tempfile.TemporaryDirectory(prefix="rafiki-inspect-", ignore_cleanup_errors=True) as folder:
        request = InspectRequest(
            model_source=model_file_bytes,
            model_class=model_class,
            file_name=file_name,
            memory_bytes=memory_bytes,
            time_s=timeout_s + 5,
        )
        group = f"check-{os.path.basename(folder)}"
        outcome = _run(request, folder, timeout_s, python or sys.executable, sandbox, group)
        excess = Excess()
        if sandbox is not None:
            excess = sandbox.excess_of(group)
            sandbox.release(group)
    if isinstance(outcome, _Death) and excess.memory:
        reason = (
            f"{file_name}: importing it took more than {memory_bytes >> 20} MB of memory, the most that it may use."
        )
        return KnobReading(error=reason, failure=LoadFailure.FILE)
    if isinstance(outcome, _Death):
        return KnobReading(error=f"{file_name}: {outcome.reason}", failure=outcome.failure)
    try:
        answer = msgspec.json.decode(outcome, type=InspectAnswer)
        if answer.knob_config is None:
            return _refusal(answer.error or f"{file_name}: no knobs were read.")
        # It comes from a process that ran user code: check it, and keep only what a knob configuration has.
        knobs = from_knob_specs(answer.knob_config)
        parse_constraints(answer.constraints, knobs)
        return KnobReading(knob_config=to_knob_specs(knobs), constraints=answer.constraints)
    except (msgspec.DecodeError, ModelError, LookupError, TypeError, ValueError, RecursionError) as e:
        return _refusal(f"{file_name}: its knobs cannot be read ({e}).")


def _refusal(reason: str) -> KnobReading:
    return KnobReading(error=reason, failure=LoadFailure.FILE)


def _environment(folder: str) -> dict[str, str]:
    env = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    # Rafiki may itself have been found by the working folder alone.
    package_root = str(Path(rafiki.__file__).resolve().parent.parent)
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [package_root, env.get("PYTHONPATH")]))
    env.update(HOME=folder, TMPDIR=folder, CUDA_VISIBLE_DEVICES="-1", PYTHONDONTWRITEBYTECODE="1")
    return env


def _command(
    python: str, environment: dict[str, str], sandbox: Sandbox | None, group: str, memory_bytes: int
) -> AbstractContextManager[Box]:
    command = [python, "-m", "rafiki.model_check.inspect_model"]
    if sandbox is None:
        return contextlib.nullcontext(Box(command))
    # Ends with us: what a model does at its upload is of no use when nobody waits for it any more.
    limits = GroupLimits(memory_bytes=memory_bytes, n_processes=_MOST_PROCESSES)
    request = BoxRequest(environment=environment, python=python, ends_with_us=True, group=group, limits=limits)
    return sandbox.box(command, request)


def _run(
    request: InspectRequest, folder: str, timeout_s: float, python: str, sandbox: Sandbox | None, group: str
) -> bytes | _Death:
    """The answer's bytes, or the reason why there is none."""
    environment = _environment(folder)
    # A file and not a pipe: a child that never reads cannot block us.
    boxed = _command(python, environment, sandbox, group, request.memory_bytes)
    with tempfile.TemporaryFile(dir=folder) as stdin, boxed as box:
        stdin.write(msgspec.json.encode(request))
        stdin.seek(0)
        child = subprocess.Popen(
            box.command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment if sandbox is None else sandbox.environment(environment),
            start_new_session=True,
            pass_fds=box.descriptors,
        )
    try:
        answer, stderr, is_over = _collect(child, Deadline(timeout_s))
    finally:
        # The whole group: the model may have started processes of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        code = exit_code_of(child.wait())
        for pipe in (child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
    if len(answer) > _MAX_ANSWER_BYTES:
        return _Death(f"its knobs are larger than {_MAX_ANSWER_BYTES:,} bytes.")
    if answer:
        return answer
    if is_over:
        why = "an endless loop, a download or training at import?"
        return _Death(f"importing it did not finish within {timeout_s:g} s ({why}).", LoadFailure.MACHINE)
    last_line = (stderr.decode(errors="replace").strip().splitlines() or [""])[-1][:200]
    how = f"died of {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    # What kills without a word is mostly the system, for want of memory.
    failure = LoadFailure.MACHINE if code == -signal.SIGKILL else LoadFailure.FILE
    return _Death(f"the process that imported it {how} before its knobs were read. {last_line}".rstrip(), failure)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _collect(child: subprocess.Popen[bytes], deadline: Deadline) -> tuple[bytes, bytes, bool]:
    """What the child answered, the end of its stderr, and whether time ran out first."""
    assert child.stdout is not None
    assert child.stderr is not None
    answer, stderr = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe in (child.stdout, child.stderr):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ)
        # The child's answer ends with its end of the pipe. Processes that it left behind may hold the other ends of
        # both pipes for ever, so the child's own end is watched too, where the system can.
        exit_fd = os.pidfd_open(child.pid) if hasattr(os, "pidfd_open") else None
        try:
            if exit_fd is not None:
                selector.register(exit_fd, selectors.EVENT_READ)
            is_open = True
            while is_open:
                events = selector.select(deadline.left_s())
                if not events and deadline.is_over():
                    return b"", bytes(stderr), True
                for key, _ in events:
                    if key.fileobj is child.stdout:
                        chunk = child.stdout.read(1 << 16)
                        answer += chunk or b""
                        if not chunk:
                            # With an answer it is done; without one, how it exits is the reason to tell.
                            selector.unregister(child.stdout)
                            is_open = not answer and exit_fd is not None
                    elif key.fileobj is child.stderr:
                        chunk = child.stderr.read(1 << 16)
                        stderr[:] = (stderr + (chunk or b""))[-_STDERR_TAIL_BYTES:]
                        if not chunk:
                            selector.unregister(child.stderr)
                    else:
                        is_open = False
                if deadline.is_over() and is_open:
                    return b"", bytes(stderr), True
                if len(answer) > _MAX_ANSWER_BYTES:
                    break
            # Exited: what it wrote before is in the pipes.
            answer += child.stdout.read(_MAX_ANSWER_BYTES + 1) or b""
            stderr += child.stderr.read(_STDERR_TAIL_BYTES) or b""
        finally:
            if exit_fd is not None:
                os.close(exit_fd)
    return bytes(answer), bytes(stderr), False
