"""A process of its own for one request: JSON on stdin, the answer as JSON on stdout. What it loads goes with it.

:func:`ask_process` is the side that starts it, the other functions are the side of the process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

import rafiki
from rafiki.utils import collector

T = TypeVar("T")
_MOST_OF_STDERR = 2000


class RequestProcessError(Exception):
    """The process gave no answer. The message tells why: the end of what it wrote to stderr, where it wrote any."""


def ask_process(module: str, request: msgspec.Struct, answer: type[T], timeout_s: float) -> T:
    """What ``python -m module`` answers.

    Raises:
        RequestProcessError: when it fails, does not end in time, or answers what is no ``answer``.
    """
    import subprocess

    try:
        child = subprocess.run(
            [sys.executable, "-m", module], input=msgspec.json.encode(request), capture_output=True, timeout=timeout_s,
            check=True,
            # Rafiki may itself have been found by the working folder alone.
            cwd=Path(rafiki.__file__).resolve().parent.parent,
        )  # fmt: skip
        return msgspec.json.decode(child.stdout, type=answer)
    except subprocess.CalledProcessError as e:
        raise RequestProcessError(e.stderr.decode(errors="replace")[-_MOST_OF_STDERR:] or str(e)) from e
    except (subprocess.TimeoutExpired, msgspec.DecodeError, OSError) as e:
        raise RequestProcessError(str(e)) from e


def read_request(kind: type[T]) -> T:
    """The request on stdin."""
    return msgspec.json.decode(sys.stdin.buffer.read(), type=kind)


def answer_request(kind: type[T], answer: Callable[[T], object]) -> int:
    """The whole process: read the request, write the answer. Its exit code; an exception ends it with a traceback."""
    collector.skip_at_exit()
    sys.stdout.buffer.write(msgspec.json.encode(answer(read_request(kind))))
    return 0


def claim_stdout() -> BinaryIO:
    """What was stdout, for the answer. What the process prints from now on, which model code may do, goes to stderr."""
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return channel
