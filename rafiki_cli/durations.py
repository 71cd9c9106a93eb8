"""Durations as people write them: ``90s``, ``10m``, ``1h30m``, ``7d``."""

from __future__ import annotations

import re

from rafiki_cli.terminal import UsageError

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def parse_duration(text: str, option: str) -> float:
    """The seconds of a duration above 0.

    Args:
        option: begins the message of a refusal.

    Raises:
        UsageError: when it is none.
    """
    parts = _PART.findall(text.strip().lower())
    total_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if "".join(number + unit for number, unit in parts) != text.strip().lower() or not 0 < total_s < 1e11:
        raise UsageError(f"{option} {text}: write a duration such as 90s, 10m, 1h30m or 30d.")
    return total_s
