"""Runs commands as a user without any right, where these tests run as root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

USER_ID = 65534
"""Nobody's. No account is needed for it."""
_REPO = Path(__file__).resolve().parents[3]
_TIMEOUT_S = 60.0


def as_ordinary_user(command: Sequence[str], environment: dict[str, str]) -> list[str]:
    """The arguments that run a command as nobody, with no capability.

    Python may be in the home of root, which nobody else can enter: in a mount namespace of its own the folders on the
    way to it are empty but for that.
    """
    programs = [shutil.which("bwrap") or "bwrap", "--cap-add", "ALL", "--dev-bind", "/", "/"]
    covered: set[Path] = set()
    for wanted in dict.fromkeys(map(Path, (_REPO, sys.prefix, sys.base_prefix))):
        closed = [p for p in reversed(wanted.parents) if not p.stat().st_mode & 0o001]
        if not closed:
            continue
        for folder in reversed(wanted.parents):
            if folder == closed[0] and folder not in covered:
                programs += ["--perms", "0755", "--tmpfs", str(folder)]
            elif folder.is_relative_to(closed[0]) and folder not in covered:
                programs += ["--perms", "0755", "--dir", str(folder)]
            covered.add(folder)
        programs += ["--ro-bind", str(wanted), str(wanted)]
    ids = ["--reuid", str(USER_ID), "--regid", str(USER_ID), "--clear-groups"]
    variables = [f"{name}={value}" for name, value in environment.items()]
    return [*programs, "--", "setpriv", *ids, "env", "-i", *variables, *command]


@cache
def _why_not() -> str:
    if os.geteuid() != 0:
        return "these tests run as an ordinary user themselves"
    if not (shutil.which("setpriv") and shutil.which("bwrap")):
        return "there is no setpriv or no bubblewrap to become another user with"
    look = [sys.executable, "-c", "from rafiki.sandbox.bubblewrap import find_bubblewrap; find_bubblewrap()"]
    try:
        done = subprocess.run(
            as_ordinary_user(look, {"PYTHONPATH": str(_REPO), "PATH": os.defpath}), capture_output=True, text=True,
            timeout=_TIMEOUT_S, check=False, cwd="/",
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as e:
        return f"another user cannot be tried here: {e}"
    if done.returncode:
        return f"an ordinary user can make no boxes here: {done.stderr.strip()[-300:]}"
    return ""


def require_ordinary_user() -> None:
    """Skip where commands cannot be run as one, or where one can make no boxes. Kernels differ: in CI, too."""
    if reason := _why_not():
        pytest.skip(reason)
