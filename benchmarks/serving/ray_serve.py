"""Ray Serve."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.serving.packaged import PackagedPeer
from benchmarks.serving.settings import BATCHES, SINGLE


class RayServe(PackagedPeer):
    name = "ray"
    requirement = "ray[serve]"
    settings = (SINGLE, BATCHES)
    common = BATCHES

    def variables(self, folder: Path) -> Mapping[str, str]:
        return {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
