"""Durations as people write them: ``90s``, ``10m``, ``12h``, ``7d``, ``2w``."""

from __future__ import annotations

import re

from rafiki_cli.terminal import UsageError

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")


def parse_duration(text: str, option: str) -> float:
    """The seconds that ``text`` means.

    Args:
        option: names it in the message.

    Raises:
        UsageError: when it is no duration.
    """
    if text.strip() == "0":
        return 0.0
    if (found := _DURATION.fullmatch(text.strip().lower())) is None:
        raise UsageError(f"{option} {text}: write a number and a unit, such as 90s, 30m, 12h, 7d or 2w.")
    return float(found[1]) * _UNITS_S[found[2]]
