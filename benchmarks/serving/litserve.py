"""LitServe."""

from benchmarks.serving.packaged import PackagedPeer
from benchmarks.serving.settings import BATCHES, SINGLE


class LitServe(PackagedPeer):
    name = "litserve"
    requirement = "litserve"
    settings = (SINGLE, BATCHES)
    common = BATCHES
