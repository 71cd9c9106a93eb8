"""How fast datasets reach nodes: ``python -m benchmarks.nodes``."""
