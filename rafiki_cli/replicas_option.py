"""How ``--replicas`` of the command line is written: ``2``, or ``1..4``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rafiki_cli import terminal

if TYPE_CHECKING:
    from rafiki.deployment import Replicas

MOST_REPLICAS = 256


def parse_replicas(text: str | None, idle_s: float | None) -> tuple[int | None, Replicas | None]:
    """A number of workers, or two between which the load decides."""
    found = re.fullmatch(r"(\d{1,4})(?:\.\.(\d{1,4}))?", text or "")
    if text is not None and found is None:
        raise terminal.UsageError(f"--replicas {text}: write a number, or two like 1..4.")
    low, high = (int(n) if n else None for n in found.groups()) if found else (None, None)
    if idle_s is not None and (high is None or low != 0):
        raise terminal.UsageError("--idle is for apps that may have no worker while nobody asks: --replicas 0..4.")
    if high is None:
        if low == 0:
            raise terminal.UsageError("--replicas 0: write 0..1 for an app that has a worker only while somebody asks.")
        if low is not None and low > MOST_REPLICAS:
            raise terminal.UsageError(f"--replicas {low}: {MOST_REPLICAS} are the most.")
        return low, None
    assert low is not None
    if not low <= high <= MOST_REPLICAS or not high:
        raise terminal.UsageError(f"--replicas {text}: the first is the smaller, and {MOST_REPLICAS} are the most.")
    from rafiki.deployment import IDLE_S, Replicas

    return None, Replicas(min=low, max=high, idle_s=IDLE_S if idle_s is None else idle_s)


def parse_limits(text: str | None, idle_s: float | None) -> tuple[None, Replicas | None]:
    """As limits, which take the place of others: a number is one that does not change."""
    from rafiki.deployment import Replicas

    count, limits = parse_replicas(text, idle_s)
    return None, limits if count is None else Replicas(min=count, max=count)
