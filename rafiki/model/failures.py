"""What model code may raise."""

from __future__ import annotations

MODEL_FAILURES = (Exception, SystemExit, KeyboardInterrupt, GeneratorExit)
"""A model's failure, whatever its class, in processes whose own signals raise something else: it fails its trial or its
query, and no more."""
