"""Clock, ids, logging, process and codec helpers; imports nothing of Rafiki but its name."""

import sys
from typing import TYPE_CHECKING

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        # Whoever asks for what is not here while `rafiki.rafiki` is imported is the package of others whose
        # `rafiki/__init__.py` overwrote ours: this is the only module of ours that its import reaches.
        if "rafiki.rafiki" in sys.modules:
            from rafiki.distribution import OverwrittenError

            raise OverwrittenError()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
