"""The settings that all peers are measured at."""

from benchmarks.serving.peer import Setting

SINGLE = Setting("no batches")
BATCHES = Setting("batches of 32, 1 ms", 32, 1.0)
