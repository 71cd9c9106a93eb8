"""Where the command ``rafiki`` starts: loads the command line, or says why it cannot be loaded.

Nothing else of Rafiki is imported before that is known: another package may have the place of its modules.
"""

from __future__ import annotations

import atexit
import gc
import sys
import warnings


def main() -> int:
    """Run one command; returns its exit code."""
    # What a command loads is no garbage: looking for some meanwhile and at its end takes a fifth of its time.
    gc.set_threshold(20_000)
    atexit.register(gc.freeze)
    with warnings.catch_warnings(record=True) as caught:
        try:
            from rafiki_cli.main import main as run
        except ImportError as e:
            if (why := _why_not(e)) is None:
                raise
            sys.stderr.write(f"error: {why}\n")
            return 1
    for warning in caught:
        _pass_on(warning)
    return run()


def _why_not(error: ImportError) -> str | None:
    """What the package of others whose modules are called ``rafiki`` has to do with a failed import; None = nothing."""
    if type(error).__name__ == "OverwrittenError":
        return error.msg
    found = sys.modules.get("rafiki")
    if error.name == "rafiki_cli.main":
        return (
            "This is an image of workers, which has no commands. `rafiki image build --all`, where Rafiki is "
            "installed, makes one of all its programs."
        )
    if found is None or hasattr(found, "__version__") or (error.name or "").partition(".")[0] != "rafiki":
        return None
    if found.__file__ is None:
        from rafiki.distribution import MEND

        return f"The file {next(iter(found.__path__))}/__init__.py is missing: another package took it with it. {MEND}"
    return (
        f"`import rafiki` finds another package in {next(iter(found.__path__))}, which is before Rafiki on Python's "
        "path. Where it is the package 'rafiki' of others (game files): pip uninstall rafiki."
    )


def _pass_on(warning: warnings.WarningMessage) -> None:
    if warning.category.__name__ == "NamesakeWarning":
        sys.stderr.write(f"warning: {warning.message}\n")
    else:
        warnings.showwarning(warning.message, warning.category, warning.filename, warning.lineno)
