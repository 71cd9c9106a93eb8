"""A program that is run once while an image is built: compiles what Rafiki imports of Python's own library.

Images of Python come without compiled files, and a container's disk is read-only: each worker would compile about 200
modules anew, which is half the processor time of its start. Whatever is written has the times of its source, so that
the image is the same each time.
"""

from __future__ import annotations

import importlib.util
import os
import py_compile
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from rafiki_cli.images.parts import PROGRAMS


def compile_library(programs: Iterable[str]) -> int:
    """Compile what these programs import; how many modules that are."""
    for name in programs:
        importlib.import_module(name)
    library = Path(sysconfig.get_path("stdlib"))
    files = {Path(file) for m in list(sys.modules.values()) if (file := getattr(m, "__file__", None)) is not None}
    sources = sorted(file for file in files if file.suffix == ".py" and file.is_relative_to(library))
    n_compiled = 0
    for source in sources:
        if Path(importlib.util.cache_from_source(str(source))).exists():
            continue
        times, of_folder = _times(source), _times(source.parent)
        made = py_compile.compile(str(source), quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        if made is None:
            continue
        os.utime(made, times)
        os.utime(Path(made).parent, times)
        os.utime(source.parent, of_folder)
        n_compiled += 1
    return n_compiled


def _times(path: Path) -> tuple[float, float]:
    changed = path.stat().st_mtime
    return changed, changed


if __name__ == "__main__":
    sys.stdout.write(f"{compile_library(PROGRAMS[sys.argv[1]])} modules of Python's library are compiled.\n")
