"""A database file that is damaged, gone or locked: the admin says what to do, or waits; it never begins anew."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rafiki.admin import migration
from rafiki.config import load_config
from rafiki.constants import ExitCode
from rafiki.errors import MetaStoreError
from rafiki.meta_store import open_meta_store
from rafiki.stack_folder import StackFolder


@pytest.fixture
def stack(tmp_path: Path) -> StackFolder:
    """A stack that was up, and is down."""
    made = StackFolder(load_config(start=tmp_path, environ={}))
    made.create()
    made.superadmin_password()
    with open_meta_store(made.meta_store_url) as store:
        store.migrate()
    return made


def damage(file: Path, at: int, length: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(at)
        opened.write(os.urandom(length))


@pytest.mark.parametrize(
    "hurt",
    [
        lambda file: file.write_bytes(os.urandom(9000)),
        lambda file: os.truncate(file, file.stat().st_size // 3),
        lambda file: os.truncate(file, 50),
        lambda file: damage(file, 4096, 4096 * 8),
        lambda file: os.truncate(file, 0),
        lambda file: file.unlink(),
    ],
    ids=["garbage", "cut short", "no header", "damaged pages", "empty", "gone"],
)
def test_a_stack_whose_database_was_hurt_does_not_start_and_says_what_to_do(
    stack: StackFolder, tmp_path: Path, hurt: Callable[[Path], None]
) -> None:
    file = stack.root / "meta.db"
    hurt(file)
    before = file.read_bytes() if file.exists() else None
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAFIKI_")}
    ended = subprocess.run(
        [sys.executable, "-m", "rafiki.admin"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={**clean, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    said = ended.stdout + ended.stderr
    assert ended.returncode == ExitCode.FAILURE
    assert "rafiki restore FILE --force" in said
    assert "meta.db" in said
    assert "Traceback" not in said
    assert (file.read_bytes() if file.exists() else None) == before


_LOCKING = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("PRAGMA locking_mode=EXCLUSIVE")
other.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locked(stack: StackFolder) -> Iterator[subprocess.Popen[str]]:
    """Another program, which has locked the database until its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", _LOCKING, str(stack.root / "meta.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        yield other


def test_a_lock_of_another_program_is_told_and_waited_for(
    stack: StackFolder, locked: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Unlocking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())
            locked.kill()

    handler = Unlocking()
    monkeypatch.setattr(migration, "_TOLD_AFTER_S", 0.1)
    logging.getLogger("rafiki.admin.migration").addHandler(handler)
    try:
        migration.migrate_in_child(stack.meta_store_url)
    finally:
        logging.getLogger("rafiki.admin.migration").removeHandler(handler)
    assert len(told) == 1
    assert "locked" in told[0]


def test_a_lock_that_stays_is_named_with_what_to_do(
    stack: StackFolder, locked: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rafiki.meta_store.sql import database

    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.1)
    monkeypatch.setattr(database, "_WAL_WAIT_S", 0.1)
    with open_meta_store(stack.meta_store_url) as store, pytest.raises(MetaStoreError, match="fuser"):
        store.users.list_users()


def test_damage_that_comes_while_the_stack_runs_is_told_by_its_health(stack: StackFolder) -> None:
    with open_meta_store(stack.meta_store_url) as store:
        store.check()
        (stack.root / "meta.db").write_bytes(os.urandom(9000))
        with pytest.raises(MetaStoreError, match="rafiki restore FILE --force"):
            store.check()
