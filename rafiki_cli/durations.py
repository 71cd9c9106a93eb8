"""Times as people write them in options: ``90``, ``45s``, ``10m``, ``1.5h``."""

from __future__ import annotations

import math
import re

from rafiki_cli.terminal import UsageError

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_FORM = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)\s*", re.IGNORECASE)


def parse_duration(text: str, option: str) -> float:
    """The seconds of an option's value; a number alone is seconds.

    Raises:
        UsageError: naming the option, when it is no time above 0.
    """
    match = _FORM.fullmatch(text)
    unit_s = _UNITS_S.get(match[2].lower()) if match else None
    seconds = float(match[1]) * unit_s if match and unit_s else 0.0
    if not 0 < seconds < math.inf:
        raise UsageError(f"{option} {text}: write a time above 0, such as 45s, 10m or 1.5h.")
    return seconds
