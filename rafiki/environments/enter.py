"""``python -m rafiki.environments.enter FOLDER MODULE [ARGUMENT ...]``: a module in an environment of this node.

A worker in a container begins so: the volume with the environments may have been taken away since its packages were
installed.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rafiki.constants import ExitCode


def main() -> None:
    folder, *program = sys.argv[1:]
    python = Path(folder) / "bin" / "python"
    if not python.exists():
        sys.stderr.write(f"error: the packages of this model are not on this node any more ({folder}).\n")
        sys.exit(ExitCode.NO_PACKAGES)
    # What PYTHONPATH leads to would come before the packages of the environment, which sees it by itself.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    os.execve(python, [str(python), "-m", *program], variables)


if __name__ == "__main__":
    main()
