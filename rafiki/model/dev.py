"""Tries a model on this machine, without a stack: what model files call under ``if __name__ == "__main__"``.

A door: both functions live in :mod:`rafiki.model_check`, above the SDK, because a local run needs the advisor.
"""

from __future__ import annotations

from rafiki.model_check.checkup import CheckReport, check_model
from rafiki.model_check.local_run import test_model_class

__all__ = ["CheckReport", "check_model", "test_model_class"]
