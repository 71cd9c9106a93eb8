"""`rafiki backup` and `rafiki restore`: what they say and exit with. What they do is tested in tests/backup."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.stores.meta_store_records import Given

from rafiki.config import load_config
from rafiki.constants import ExitCode
from rafiki.meta_store import open_meta_store
from rafiki.stack_folder import StackFolder
from rafiki.utils.pid_file import PidFile, handle_of


@pytest.fixture
def stack(folder: Path) -> StackFolder:
    """A stack that is down, with one user, in the project of the test's folder."""
    (folder / "rafiki.yaml").write_text("stack: {min_free_mb: 1}\n")
    made = StackFolder(load_config())
    made.create()
    made.secrets()
    with open_meta_store(made.meta_store_url) as store:
        store.migrate()
        Given(store).user("ada@rafiki")
    return made


def test_a_stack_is_saved_checked_and_restored_elsewhere(
    cli, stack: StackFolder, folder: Path, tmp_path_factory
) -> None:
    saved = cli("backup", "b.tar")
    assert (saved.code, saved.out) == (ExitCode.OK, "b.tar\n")
    assert "1 user" in saved.err
    assert "0600" in saved.err
    checked = cli("backup", "check", "b.tar")
    assert checked.code == ExitCode.OK
    assert "rows of users" in checked.out
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "new"
    restored = cli("restore", "b.tar", "--into", str(elsewhere), "-o", "json")
    assert restored.code == ExitCode.OK
    report = json.loads(restored.out)
    assert report["root"] == str(elsewhere / ".rafiki")
    with open_meta_store(f"sqlite:///{elsewhere}/.rafiki/meta.db") as store:
        assert store.users.find_user_by_email("ada@rafiki") is not None


def test_a_backup_without_a_name_has_that_of_its_time(cli, stack: StackFolder, folder: Path) -> None:
    assert cli("backup", "--without-stores").code == ExitCode.OK
    assert len(list(folder.glob("rafiki-backup-*.tar"))) == 1
    (folder / "all").mkdir()
    report = json.loads(cli("backup", "all", "-o", "json").out)
    assert Path(report["file"]).parent.name == "all"
    assert report["tables"]["users"] == 1


def test_a_damaged_backup_is_told_with_an_exit_code(cli, stack: StackFolder, folder: Path) -> None:
    cli("backup", "b.tar")
    raw = bytearray((folder / "b.tar").read_bytes())
    raw[raw.index(b"ada@rafiki")] ^= 1
    (folder / "b.tar").write_bytes(raw)
    checked = cli("backup", "check", "b.tar")
    assert checked.code == ExitCode.FAILURE
    assert "tables/users.jsonl is damaged" in checked.err
    (folder / "c.tar").write_bytes(raw[:2000])
    assert cli("backup", "check", "c.tar").code == ExitCode.FAILURE
    refused = cli("restore", "b.tar", "--force")
    assert refused.code == ExitCode.FAILURE
    assert "Nothing was written" in refused.err
    assert cli("restore", "none.tar", "--force").code == ExitCode.NOT_FOUND


def test_nothing_is_restored_over_a_stack_nor_into_one_that_runs(cli, stack: StackFolder, folder: Path) -> None:
    cli("backup", "b.tar")
    refused = cli("restore", "b.tar")
    assert refused.code == ExitCode.REFUSED
    assert "--into" in refused.err
    assert "--force" in refused.err
    PidFile(process=handle_of(os.getpid()), host="127.0.0.1", port=1, stack_root=str(stack.root)).save(
        stack.admin_pid_file
    )
    refused = cli("restore", "b.tar", "--force")
    assert refused.code == ExitCode.REFUSED
    assert "rafiki down" in refused.err
    stack.admin_pid_file.unlink()
    forced = cli("restore", "b.tar", "--force")
    assert forced.code == ExitCode.OK
    assert "before-restore" in forced.err


def test_where_no_stack_is_there_is_nothing_to_save(cli, folder: Path) -> None:
    refused = cli("backup", "b.tar")
    assert refused.code == ExitCode.FAILURE
    assert "never up" in refused.err
    assert not (folder / "b.tar").exists()


def test_a_folder_within_another_project_is_refused(cli, stack: StackFolder, folder: Path) -> None:
    cli("backup", "b.tar")
    refused = cli("restore", "b.tar", "--into", "within")
    assert refused.code == ExitCode.USAGE
    assert "another stack" in refused.err
