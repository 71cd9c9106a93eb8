"""Logs that grow: kept within a limit, while those who write go on."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rafiki.admin import log_keeper
from rafiki.admin.log_keeper import LogKeeper


def test_a_log_that_is_too_large_begins_anew_and_its_end_stays_beside_it(tmp_path: Path) -> None:
    log, small = tmp_path / "train-1.log", tmp_path / "admin.log"
    small.write_text("small\n")
    keeper = LogKeeper(tmp_path, 1000)
    with log.open("ab", buffering=0) as writer:
        for i in range(300):
            writer.write(b"line %d\n" % i)
        keeper.look()
        writer.write(b"after\n")
        assert log.read_text() == "after\n"
        lines = (tmp_path / "train-1.log.1").read_text().splitlines()
        assert lines[-1] == "line 299" and lines[0].startswith("line ") and len(lines) > 90
        for i in range(300):
            writer.write(b"again %d\n" % i)
        keeper.look()
        keeper.look()
    assert log.read_text() == ""
    assert (tmp_path / "train-1.log.1").read_text().splitlines()[-1] == "again 299"
    assert small.read_text() == "small\n"
    assert sum(file.stat().st_size for file in tmp_path.glob("train*")) <= 2000


def test_on_a_full_disk_a_log_is_cut_without_what_it_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * 2000)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(log_keeper, "_copy_end", full)
    LogKeeper(tmp_path, 1000).look()
    assert [file.name for file in tmp_path.iterdir()] == ["a.log"]
    assert (tmp_path / "a.log").stat().st_size == 0


def test_a_link_leads_to_no_other_file(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"x" * 2000)
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.log").symlink_to(other)
    LogKeeper(logs, 100).look()
    assert other.stat().st_size == 2000
