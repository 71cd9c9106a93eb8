"""Rafiki: train model templates under a budget, search their knobs, serve the best trials as an ensemble."""

import os

from rafiki.version import __version__

__all__ = ["__version__"]

# One look at the disk (2 us): the package of others whose modules have the name of ours. See rafiki.distribution.
if os.path.exists(os.path.join(__path__[0], "rafiki.py")):
    from rafiki.distribution import warn_of_namesake

    warn_of_namesake()
    del warn_of_namesake
del os
