"""``sitecustomize`` of the tests' image: the clocks of its hosts are wrong, by half a minute before and behind.

So all tests over two hosts run with clocks that are a minute apart. A container tells its host by where its disk is.
"""

import time
from pathlib import Path

AHEAD_S = {"1": 30.0, "2": -30.0}


def _ahead_s():
    for word in Path("/proc/self/mounts").read_text().partition("\n")[0].split(","):
        folder, found, _ = word.partition("/data/")
        if found:
            return AHEAD_S.get(folder[-1], 0.0)
    return 0.0


_AHEAD_S = _ahead_s()
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _AHEAD_S
time.time_ns = lambda: _time_ns() + int(_AHEAD_S * 1e9)
