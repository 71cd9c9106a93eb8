"""Whether this machine can make boxes for model code."""

from __future__ import annotations

import os

import pytest

from rafiki.sandbox.bubblewrap import NoBubblewrapError, find_bubblewrap


def _why_not() -> str:
    try:
        find_bubblewrap()
    except NoBubblewrapError as e:
        return str(e)
    return ""


_REASON = _why_not()
# In CI a machine without it is a failure, told by the test itself.
needs_bubblewrap = pytest.mark.skipif(bool(_REASON) and os.environ.get("CI", "").lower() != "true", reason=_REASON)
