"""The command line in this process: a process of its own takes a third of a second to load what this one has loaded."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

from rafiki_cli.main import main


def run_here(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``rafiki`` with ``arguments`` in a folder, as in a process with that environment and nobody at its stdin."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    with (
        Path(os.devnull).open() as nobody,
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, os.environ if environment is None else environment, clear=True),
        mock.patch("sys.stdin", nobody),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main(list(arguments))
    texts = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return subprocess.CompletedProcess(arguments, code, *texts)
