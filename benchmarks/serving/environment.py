"""An environment of its own for each peer: their dependencies conflict with ours and with one another's."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

_CONSTRAINTS = Path(__file__).resolve().with_name("constraints")
_INSTALL_S = 900.0


class Environment:
    """The environment of one peer, beside the one that runs this.

    Args:
        requirements: what pip is to install, such as ``ray[serve]``; in the versions of ``constraints/NAME.txt``.
    """

    def __init__(self, name: str, requirements: Sequence[str]) -> None:
        self.folder = Path(sys.prefix) / ".serving-peers" / name
        self._requirements = list(requirements)
        self.constraints = _CONSTRAINTS / f"{name}.txt"

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def version_of(self, package: str) -> str:
        """As constrained."""
        lines = self.constraints.read_text().splitlines()
        return next(line.partition("==")[2] for line in lines if line.lower().startswith(f"{package}=="))

    def find_missing(self) -> str | None:
        """Make it, if it is not there. Returns why it cannot be; None when it is there."""
        wanted = hashlib.sha256(self.constraints.read_bytes()).hexdigest()
        mark = self.folder / "installed"
        if mark.is_file() and mark.read_text() == wanted:
            return None
        print(f"installing {self._requirements[0]} into {self.folder}", file=sys.stderr, flush=True)
        try:
            venv.create(self.folder, with_pip=True, clear=True)
            install = [str(self.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            done = subprocess.run(
                [*install, "-c", str(self.constraints), *self._requirements],
                capture_output=True, text=True, timeout=_INSTALL_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as e:
            return f"its environment cannot be made: {e}"
        if done.returncode != 0:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            return f"pip cannot install it: {lines[-1] if lines else f'exit code {done.returncode}'}"
        mark.write_text(wanted)
        return None
