from __future__ import annotations

import errno
import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from rafiki.admin.audit_log import AuditLog
from rafiki.contract.all import ENDPOINTS
from rafiki.contract.audit import AuditEntry
from rafiki.utils.clock import utc_now

CHANGES_NOTHING = {"check_model", "start_oidc_login"}
"""One looks again at what is there; what the other begins is audited when it ends."""


def entry(action: str, user: str = "ada@rafiki", result: str = "ok", **subject: str) -> AuditEntry:
    return AuditEntry(time=utc_now(), action=action, user=user, subject=subject, result=result)


def actions(log: AuditLog) -> list[str]:
    return [e.action for e in log.newest(10_000)]


def test_every_call_that_changes_something_is_audited() -> None:
    for endpoint in ENDPOINTS.values():
        may_change = endpoint.method != "GET" and endpoint.name not in CHANGES_NOTHING
        assert (endpoint.audited is not None) == may_change, endpoint.name


def test_no_field_that_may_be_secret_is_told() -> None:
    for endpoint in ENDPOINTS.values():
        for name in endpoint.audited.fields if endpoint.audited else ():
            assert (
                name in ("token_id", "key_id")
                or not any(w in name for w in ("password", "token", "key", "url", "command"))
                or (endpoint.name in ("create_environment", "remove_environment") and name == "key")
            ), (endpoint.name, name)


def test_entries_of_both_files_come_back_in_order_and_by_filter(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", 1 << 20)
    begin = utc_now()
    log.note(entry("user.create"))
    log.note(entry("login", "bob@rafiki", "InvalidPasswordError"))
    middle = utc_now()
    log.note(entry("users.other"))
    log.note(entry("user.ban", email="eve@rafiki"))
    assert actions(log) == ["user.create", "login", "users.other", "user.ban"]
    assert [e.action for e in log.newest(9, action="user")] == ["user.create", "user.ban"]
    assert [e.result for e in log.newest(9, user="BOB@rafiki")] == ["InvalidPasswordError"]
    assert [e.action for e in log.newest(9, since=middle)] == ["users.other", "user.ban"]
    assert [e.action for e in log.newest(1, since=begin - timedelta(days=1))] == ["user.ban"]


def test_its_files_are_this_users_alone(tmp_path: Path) -> None:
    AuditLog(tmp_path / "audit", 1 << 20).note(entry("login"))
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "audit" / "done.jsonl").stat().st_mode) == 0o600


def test_it_is_limited_and_strangers_push_nothing_out_that_was_done(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", 64 * 1024)
    log.note(entry("user.ban", email="eve@rafiki"))
    for n in range(2000):
        log.note(entry("login", f"guess{n}@rafiki", "InvalidPasswordError"))
    assert sum(f.stat().st_size for f in (tmp_path / "audit").iterdir()) <= 64 * 1024
    found = log.newest(10_000)
    assert found[0].action == "user.ban"
    assert found[-1].user == "guess1999@rafiki"
    told = [int((e.user or "").removeprefix("guess").removesuffix("@rafiki")) for e in found[1:]]
    assert told == list(range(told[0], 2000))


def test_a_full_disk_stops_nobody_and_what_is_missing_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path / "audit", 1 << 20)
    log.note(entry("before"))
    write = os.write

    def half(fd: int, data: bytes) -> int:
        return write(fd, data[: len(data) // 2])

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    for broken in (half, full):
        monkeypatch.setattr(os, "write", broken)
        log.note(entry("lost"))
    monkeypatch.setattr(os, "write", write)
    log.note(entry("after"))
    assert actions(log) == ["before", "audit.lost", "after"]
    assert log.newest(2)[0].subject == {"entries": "2"}


def test_a_deleted_folder_and_a_torn_line_are_no_hindrance(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", 1 << 20)
    log.note(entry("gone"))
    for file in (tmp_path / "audit").iterdir():
        file.unlink()
    (tmp_path / "audit").rmdir()
    assert actions(log) == []
    log.note(entry("one"))
    with (tmp_path / "audit" / "done.jsonl").open("a") as f:
        f.write('{"time": "2026-\n\xff\n')
    log.note(entry("two"))
    assert actions(log) == ["one", "two"]


def test_what_strangers_write_is_cut_and_obeyed_by_no_terminal(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", 1 << 20)
    log.note(entry("login", "\x1b[2J" + "x" * 5000, "InvalidPasswordError"))
    [line] = (tmp_path / "audit" / "refused.jsonl").read_text().splitlines()
    user = json.loads(line)["user"]
    assert user.isprintable()
    assert len(user) == 300
