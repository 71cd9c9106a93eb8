"""Which files of an image are compiled: those that Rafiki's programs and the bundled models import.

Compiled files are as large as their sources, and most modules of a library are never imported. Python compiles the
others when it imports them, each time: the image is read-only.
"""

from __future__ import annotations

import compileall
import json
import py_compile
import subprocess
import sys
from pathlib import Path

from rafiki.errors import InvalidRequestError

_SCRIPT = Path(__file__).with_name("imported.py")
_TIMEOUT_S = 300.0


def compile_imported(site: Path, in_image: str) -> None:
    """Compile what is imported, and thereby see that it can be.

    Args:
        site: the folder of packages; nothing outside it and Python's own library is imported.
        in_image: its path in the image, which compiled files name.

    Raises:
        InvalidRequestError: Rafiki cannot be imported from there.
    """
    command = [sys.executable, "-I", "-S", "-B", str(_SCRIPT), str(site)]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True, env={})
    except (subprocess.SubprocessError, OSError) as e:
        told = (getattr(e, "stderr", None) or str(e)).strip().rpartition("\n")[2]
        raise InvalidRequestError(f"Rafiki does not start from the image's files: {told[:300]}") from e
    for name in json.loads(child.stdout.rpartition("\n")[2]):
        compileall.compile_file(
            site / name, quiet=2, stripdir=str(site), prependdir=in_image,
            # The other kinds hold times, which differ from build to build.
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )  # fmt: skip
