"""``python -m rafiki.container.sweep``: takes away what of a stack runs on other hosts while no admin runs.

Processes of this machine are found without it. Prints nothing, unless the back end cannot be asked.
"""

from __future__ import annotations

import sys

from rafiki.config import load_config
from rafiki.constants import ExitCode
from rafiki.container import BACKENDS
from rafiki.errors import RafikiError
from rafiki.stack_folder import StackFolder
from rafiki.stack_identity import read_identity


def main() -> int:
    try:
        loaded = load_config()
        sweep = BACKENDS.get(loaded.config.container.backend).sweep
        identity = read_identity(StackFolder(loaded).root)
        if sweep is not None and identity is not None:
            sweep(loaded.config, identity.id)
    except RafikiError as e:
        sys.stderr.write(f"error: {e.message}\n")
        return ExitCode.FAILURE
    return 0


if __name__ == "__main__":
    sys.exit(main())
