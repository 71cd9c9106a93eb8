"""mosec."""

from benchmarks.serving.packaged import PackagedPeer
from benchmarks.serving.settings import BATCHES, SINGLE


class Mosec(PackagedPeer):
    name = "mosec"
    requirement = "mosec"
    path = "/inference"
    settings = (SINGLE, BATCHES)
    common = BATCHES
