"""How a service reads what it was started with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from rafiki.constants import ExitCode

T = TypeVar("T")


def read_spec(kind: type[T]) -> T:
    """The spec in the file that the only argument names. Exits with a usage error when there is none."""
    if len(sys.argv) != 2:
        sys.stderr.write(f"error: {Path(sys.argv[0]).name} is started by the admin, with the path of its spec.\n")
        sys.exit(ExitCode.USAGE)
    try:
        return msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as e:
        sys.stderr.write(f"error: {sys.argv[1]}: cannot read this service's spec: {e}\n")
        sys.exit(ExitCode.USAGE)
