"""``python -m benchmarks``: the figures that Rafiki is measured by, on a real stack of real processes."""
