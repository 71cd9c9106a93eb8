"""Times as people write them in options: ``90``, ``45s``, ``10m``, ``1.5h``, ``7d``, ``2w``."""

from __future__ import annotations

import math
import re

from rafiki_cli.terminal import UsageError

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_duration(text: str, option: str, *, may_be_zero: bool = False) -> float:
    """The seconds of an option's value; a number alone is seconds.

    Raises:
        UsageError: naming the option, when it is no time above 0 (or 0, where that may be).
    """
    match = _FORM.fullmatch(text)
    unit_s = _UNITS_S.get(match[2].lower()) if match else None
    seconds = float(match[1]) * unit_s if match and unit_s else -1.0
    if not (0 < seconds < math.inf or (may_be_zero and seconds == 0)):
        least = "0 or above" if may_be_zero else "above 0"
        raise UsageError(f"{option} {text}: write a time {least}, such as 45s, 10m, 1.5h or 7d.")
    return seconds
