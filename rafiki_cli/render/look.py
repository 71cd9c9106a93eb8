"""What the terminal can show: colours, characters, columns."""

from __future__ import annotations

import os
import shutil
import sys
from typing import NamedTuple

_PROBE = "█⣿│≠★"


class Look(NamedTuple):
    """What charts and bars may use."""

    is_colored: bool = False
    is_ascii: bool = False


def of_stdout() -> Look:
    """The look of what goes to stdout: no colours into a pipe or with ``NO_COLOR``, plain characters without UTF-8."""
    is_colored = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Look(is_colored=is_colored, is_ascii=not can_encode(getattr(sys.stdout, "encoding", None)))


def can_encode(encoding: str | None) -> bool:
    """Whether an encoding holds the characters of charts; unknown ones do not."""
    try:
        _PROBE.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def width() -> int:
    """Columns of the terminal (or ``COLUMNS``); 80 where there is none."""
    return max(20, shutil.get_terminal_size((80, 24)).columns)
