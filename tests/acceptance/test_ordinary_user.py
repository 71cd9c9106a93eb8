"""Whoever starts a stack need not be root: an ordinary user's boxes hold as much."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machines.bubblewrap import needs_bubblewrap
from support.machines.ordinary_user import USER_ID, as_ordinary_user, require_ordinary_user

pytestmark = [pytest.mark.acceptance, needs_bubblewrap]
TIMEOUT_S = 600.0
HOSTILE_MODEL = Path(__file__).with_name("test_hostile_model.py")


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the user's own. Those of pytest are root's alone."""
    made = Path(tempfile.mkdtemp(prefix="rafiki-user-"))
    try:
        os.chown(made, USER_ID, USER_ID)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def test_a_hostile_model_of_an_ordinary_users_stack_reaches_nothing(home: Path) -> None:
    require_ordinary_user()
    command = [
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "--basetemp",
        str(home / "tests"), str(HOSTILE_MODEL),
    ]  # fmt: skip
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "CI": "true"}
    done = subprocess.run(
        as_ordinary_user(command, environment), cwd=HOSTILE_MODEL.parents[2], capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False, start_new_session=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "1 passed" in done.stdout
