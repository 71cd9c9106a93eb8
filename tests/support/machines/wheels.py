"""Wheels of this checkout, in a folder that pip takes for an index, and the same folder on a web server."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rafiki.version import __version__

ROOT = Path(__file__).resolve().parents[3]


def _sources() -> set[str]:
    """What a wheel is built of, as pyproject.toml says: files and folders of this checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    return {"pyproject.toml", project["project"]["readme"], *wheel["packages"], *wheel["force-include"]}


def build_wheel(folder: Path, version: str | None = None) -> Path:
    """Build the wheel of this checkout, as of another version when one is given; returns the file, in ``folder``."""
    source = ROOT
    folder.mkdir(exist_ok=True)
    if version is not None:
        source = folder / f"sources-{version}"
        for name in sorted(_sources()):
            path, target = ROOT / name, source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(path, target)
        (source / "rafiki" / "version.py").write_text(f'"""As of a later day."""\n\n__version__ = "{version}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=source, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob(f"rafiki_ml-{version or __version__}-py3-none-any.whl")
    return built


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a web server with the files of a folder."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
