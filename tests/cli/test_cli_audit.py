from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.constants import ExitCode
from rafiki.utils.clock import utc_now

ENTRY = {
    "time": "2026-11-30T10:00:00Z", "action": "user.ban", "user": "ada@rafiki", "user_id": "u1",
    "address": "192.0.2.7", "subject": {"email": "bob@rafiki"}, "result": "ok",
}  # fmt: skip


def asked(server: ContractServer) -> Any:
    return next(c.request for c in server.calls if c.name == "get_audit")


def test_it_shows_who_did_what_from_where(logged_in, server: ContractServer) -> None:
    server.answers["get_audit"] = [ENTRY]
    result = logged_in("audit", "--user", "ada@rafiki", "--action", "user", "-n", "7")
    assert result.code == ExitCode.OK
    title, row = result.out.splitlines()
    assert title.split() == ["TIME", "USER", "FROM", "ACTION", "WHAT", "RESULT"]
    assert row.split()[2:] == ["ada@rafiki", "192.0.2.7", "user.ban", "email=bob@rafiki", "ok"]
    request = asked(server)
    assert (request.user, request.action, request.since, request.count) == ("ada@rafiki", "user", None, 7)


def test_json_holds_the_entries_as_they_are(logged_in, server: ContractServer) -> None:
    server.answers["get_audit"] = [ENTRY]
    assert json.loads(logged_in("audit", "-o", "json").out) == [ENTRY]


def test_nothing_found_is_said(logged_in, server: ContractServer) -> None:
    server.answers["get_audit"] = []
    result = logged_in("audit", "--action", "user.ban")
    assert (result.out, result.err.strip()) == ("", "Nothing of that is in the audit log.")


@pytest.mark.parametrize(
    ("since", "start"),
    [("2026-11-30T10:00:00Z", datetime(2026, 11, 30, 10, tzinfo=UTC)), ("2026-11-30T12:00+02:00", None), ("2h", None)],
)
def test_since_is_a_time_or_how_long_ago(logged_in, server: ContractServer, since: str, start: datetime | None) -> None:
    server.answers["get_audit"] = []
    assert logged_in("audit", "--since", since).code == ExitCode.OK
    if since == "2h":
        assert abs(utc_now() - timedelta(hours=2) - asked(server).since) < timedelta(minutes=10)
    else:
        assert asked(server).since == (start or datetime(2026, 11, 30, 10, tzinfo=UTC))


@pytest.mark.parametrize("since", ["yesterday", "-1h", "99999999999w"])
def test_a_since_that_is_no_time_is_refused(logged_in, server: ContractServer, since: str) -> None:
    result = logged_in("audit", f"--since={since}")
    assert result.code == ExitCode.USAGE
    assert "2h or 7d" in result.err
