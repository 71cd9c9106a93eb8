"""How many threads numeric libraries start in a worker."""

from __future__ import annotations

import os
from collections.abc import Mapping

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def count_cores() -> int:
    """The cores of this machine that the admin may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_of_worker(environment: Mapping[str, str], count: int) -> dict[str, str]:
    """The variables of a worker that is to use ``count`` cores: as many threads in each worker as there are cores is
    ruinous on few cores.

    A number that the stack's owner set is left as it is, and goes for the other libraries too: where they disagree,
    torch on the processor was 36 times slower.
    """
    number = next((environment[name] for name in THREAD_VARIABLES if name in environment), str(count))
    return {name: environment.get(name, number) for name in THREAD_VARIABLES}
