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
from collections.abc import Mapping, Sequence
from pathlib import Path

from rafiki.errors import InvalidRequestError

_SCRIPT = Path(__file__).with_name("imported.py")
_TIMEOUT_S = 300.0


def compile_imported(
    site: Path, in_image: str, programs: Sequence[str], *, absent: Sequence[str] = (), models: Path | None = None,
    into: Path | None = None,
) -> None:  # fmt: skip
    """Compile what is imported, and thereby see that it can be.

    Args:
        site: the folder of packages; nothing outside it and Python's own library is imported.
        in_image: its path in the image, which compiled files name.
        programs: modules that have to start from there.
        absent: Rafiki's own packages that are not there by intention.
        models: a folder of models; what they import is compiled as well.
        into: a folder with some of the packages: these alone are compiled, and there. None = all of them.

    Raises:
        InvalidRequestError: Rafiki cannot be imported from there.
    """
    folder = site if into is None else into
    request = {
        "folder": str(site), "models": None if models is None else str(models), "programs": list(programs),
        "absent": list(absent),
    }  # fmt: skip
    for name in _find_imported(request):
        if (folder / name).is_file():
            compileall.compile_file(
                folder / name, quiet=2, stripdir=str(folder), prependdir=in_image,
                # The other kinds hold times, which differ from build to build.
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )  # fmt: skip


def _find_imported(request: Mapping[str, object]) -> list[str]:
    command = [sys.executable, "-I", "-S", "-B", str(_SCRIPT), json.dumps(request)]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True, env={})
    except (subprocess.SubprocessError, OSError) as e:
        told = (getattr(e, "stderr", None) or str(e)).strip().rpartition("\n")[2]
        raise InvalidRequestError(f"Rafiki does not start from the image's files: {told[:300]}") from e
    found: list[str] = json.loads(child.stdout.rpartition("\n")[2])
    return found
