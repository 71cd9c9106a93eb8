"""When Python's garbage collector works.

What a process loads at its start stays until its end. A collector that looks through it again and again while it is
loaded, and the interpreter once more when it ends, take a third of the time of a process that does little else.
"""

from __future__ import annotations

import atexit
import gc


def rest_while_loading() -> None:
    """No collection until :func:`keep_what_is_loaded`, and none at the end of the process."""
    gc.disable()
    skip_at_exit()


def keep_what_is_loaded() -> None:
    """Collections begin; they leave out what there is now."""
    gc.freeze()
    gc.enable()


def skip_at_exit() -> None:
    """The end of the process looks for no garbage: the system takes back all memory at once."""
    atexit.register(gc.freeze)
