"""The files that come with the command line: in the wheel in the package, or in a checkout beside this package."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from rafiki.distribution import install_command
from rafiki.errors import RafikiError

PACKAGE = Path(__file__).resolve().parent.parent
_HOMES = {
    "templates": (PACKAGE / "_templates", PACKAGE.parent / "templates"),
    "examples": (PACKAGE / "_examples", PACKAGE.parent / "examples"),
    "pages": (PACKAGE / "_pages", PACKAGE.parent / "docs" / "reference"),
}


class MissingAssetError(RafikiError):
    """This installation lacks a file that comes with Rafiki. Install Rafiki again."""


def find_asset(kind: str, name: str) -> Path:
    """The file or folder ``name`` among ``templates``, ``examples`` or ``pages``.

    Raises:
        MissingAssetError: naming where it was looked for.
    """
    for home in _HOMES[kind]:
        if (path := home / name).exists():
            return path
    looked = " or ".join(str(home / name) for home in _HOMES[kind])
    raise MissingAssetError(f"This installation lacks {looked}. Install Rafiki again.")


def write_digits(folder: Path) -> tuple[Path, Path, Path]:
    """Write the digits datasets: the zips to train on, to validate and to test.

    Raises:
        MissingAssetError: when scikit-learn, which brings the images, is not installed, or the script fails.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MissingAssetError(
            "quickstart takes its images and models from scikit-learn, which is not installed. Install it with "
            f"`{install_command('templates')}`."
        )
    script = find_asset("examples", "datasets/load_digits.py")
    done = subprocess.run(
        [sys.executable, str(script), "--out", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MissingAssetError(f"{script} failed: {last}")
    return folder / "digits_train.zip", folder / "digits_val.zip", folder / "digits_test.zip"
