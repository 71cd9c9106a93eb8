"""The GPUs of this machine."""

from __future__ import annotations

import shutil
import subprocess

_TIMEOUT_S = 5.0


def find_gpus() -> list[int]:
    """Indices of the GPUs that nvidia-smi lists; none when there is no nvidia-smi, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        listed = subprocess.run(
            [program, "--query-gpu=index", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=_TIMEOUT_S, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) for line in listed.stdout.split() if line.isdigit()]
